package main

// Closed loops: so many connections, so many calls under way on each; an answer starts the next call.

import (
	"fmt"
	"time"
)

// bounds say when a run begins to count and when it ends.
type bounds struct {
	warmup  int           // calls before the clock starts
	calls   int           // counted calls, if not 0
	seconds time.Duration // how long to go on, if calls is 0
}

// meter counts calls, and notes when the warm-up and the run are over.
type meter struct {
	bounds
	issued   int
	finished int
	started  int64         // when the warm-up was over
	cpu      time.Duration // used up to then
	ended    int64         // when the last answer came
	over     bool          // nothing is to be asked any more
}

func newMeter(bounds bounds) *meter {
	m := &meter{bounds: bounds}
	if bounds.warmup == 0 {
		m.begin()
	}
	return m
}

func (m *meter) begin() {
	m.cpu = cpuTime()
	m.started = now()
}

// take hands out the number of the next request; false once there is none.
func (m *meter) take() (int, bool) {
	if m.calls > 0 {
		m.over = m.issued >= m.warmup+m.calls
	} else if m.started > 0 {
		m.over = now()-m.started >= int64(m.seconds)
	}
	if m.over {
		return 0, false
	}
	m.issued++
	return m.issued - 1, true
}

// done counts one answer and says whether its latency counts.
func (m *meter) done() bool {
	m.finished++
	if m.finished == m.warmup {
		m.begin()
		return false
	}
	m.ended = now()
	return m.finished > m.warmup
}

// complete says whether every request has its answer and no more are to come.
func (m *meter) complete() bool { return m.over && m.finished == m.issued }

// Closed is the outcome of a closed loop.
type Closed struct {
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"calls_per_second"`
	CPU     float64 `json:"generator_cpu_us_per_call"`
	Latency
}

func (m *meter) outcome(samples []int64) Closed {
	latency := summarise(samples)
	seconds := float64(m.ended-m.started) / 1e9
	return Closed{
		Seconds: seconds,
		Rate:    float64(latency.Calls) / seconds,
		CPU:     float64((cpuTime() - m.cpu).Microseconds()) / float64(max(latency.Calls, 1)),
		Latency: latency,
	}
}

// unaryLoop is the closed loops of one connection.
type unaryLoop struct {
	connection *connection
	meter      *meter
	work       work
	path       string
	samples    *[]int64
	request    []byte
	answer     answer
	failed     func(error)
}

func (l *unaryLoop) next() {
	n, more := l.meter.take()
	if !more {
		return
	}
	call := l.connection.open(l.path, l)
	l.request, call.slot = l.work.request(n, l.request[:0])
	l.connection.send(call, l.request, true)
}

func (l *unaryLoop) message(call *call, body []byte) {
	if err := parseAnswer(body, &l.answer); err != nil {
		l.failed(err)
	} else if err := l.work.check(call.slot, &l.answer); err != nil {
		l.failed(fmt.Errorf("%s: %w", l.path, err))
	}
	call.slot = answered
}

const answered = -1

func (l *unaryLoop) closed(call *call, err error) {
	if err == nil && call.slot != answered {
		err = fmt.Errorf("no message")
	}
	if err != nil {
		l.failed(fmt.Errorf("%s: %w", l.path, err))
		return
	}
	if l.meter.done() {
		*l.samples = append(*l.samples, now()-call.started)
	}
	l.next()
}

// runUnary runs a work over connections that are there, `streams` calls at a time on each.
func runUnary(
	loop *eventLoop, connections []*connection, streams int, bounds bounds, work work, failed func(error),
) Closed {
	meter := newMeter(bounds)
	samples := make([]int64, 0, bounds.calls+1024)
	for _, connection := range connections {
		calls := &unaryLoop{
			connection: connection, meter: meter, work: work, path: work.path(), failed: failed, samples: &samples,
		}
		for range streams {
			calls.next()
		}
		connection.flush()
	}
	loop.until(meter.complete)
	return meter.outcome(samples)
}

// keepAliveLoop renews one lease again and again over one stream.
type keepAliveLoop struct {
	connection *connection
	meter      *meter
	request    []byte
	sent       int64
	samples    *[]int64
	answer     answer
	failed     func(error)
}

func (l *keepAliveLoop) next(call *call) {
	if _, more := l.meter.take(); !more {
		return
	}
	l.sent = now()
	l.connection.send(call, l.request, false)
}

func (l *keepAliveLoop) message(call *call, body []byte) {
	err := parseAnswer(body, &l.answer)
	if err == nil && l.answer.ints[3] == 0 {
		err = fmt.Errorf("a lease has expired")
	}
	if err != nil {
		l.failed(err)
		return
	}
	if l.meter.done() {
		*l.samples = append(*l.samples, now()-l.sent)
	}
	l.next(call)
}

func (l *keepAliveLoop) closed(_ *call, err error) {
	l.failed(fmt.Errorf("the keep-alive stream has ended: %v", err))
}

// runKeepAlive grants a lease for each stream and renews them all in closed loops.
func runKeepAlive(
	loop *eventLoop, connections []*connection, streams int, bounds bounds, failed func(error),
) Closed {
	samples := make([]int64, 0, bounds.calls+1024)
	var renewals []*keepAliveLoop
	for _, connection := range connections {
		for range streams {
			granted := ask(loop, connection, grantWork{}, failed)
			renewals = append(renewals, &keepAliveLoop{
				connection: connection, failed: failed, samples: &samples,
				request: appendInt(nil, 1, int64(granted.ints[2])),
			})
		}
	}
	meter := newMeter(bounds)
	for _, renewal := range renewals {
		renewal.meter = meter
		renewal.next(renewal.connection.open(leasePath+"LeaseKeepAlive", renewal))
	}
	for _, connection := range connections {
		connection.flush()
	}
	loop.until(meter.complete)
	return meter.outcome(samples)
}

// single is one call that somebody waits for.
type single struct {
	work   work
	answer answer
	err    error
	done   bool
}

func (s *single) message(call *call, body []byte) {
	if s.err = parseAnswer(body, &s.answer); s.err == nil {
		s.err = s.work.check(call.slot, &s.answer)
	}
}

func (s *single) closed(_ *call, err error) {
	if err != nil {
		s.err = err
	}
	s.done = true
}

// start makes the call; done says when it is over.
func (s *single) start(connection *connection) {
	call := connection.open(s.work.path(), s)
	var message []byte
	message, call.slot = s.work.request(0, nil)
	connection.send(call, message, true)
	connection.flush()
}

// ask makes one call, turns the loop until it is over, and returns the answer.
func ask(loop *eventLoop, connection *connection, work work, failed func(error)) answer {
	waiting := &single{work: work}
	waiting.start(connection)
	loop.until(func() bool { return waiting.done })
	if waiting.err != nil {
		failed(fmt.Errorf("%s: %w", work.path(), waiting.err))
	}
	return waiting.answer
}

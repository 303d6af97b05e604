package main

// The probe: another client that gets one key at fixed times, whether or not the last answer has come.
// Its slowest answer is how long the server did not get round to anybody.

import (
	"fmt"
	"time"
)

const probeKey = "probe/"

type probe struct {
	loop       *eventLoop
	connection *connection
	work       getWork
	request    []byte
	samples    []int64
	open       int
	failed     func(error)
}

// startProbe puts the key and begins.
func startProbe(loop *eventLoop, connection *connection, interval time.Duration, failed func(error)) *probe {
	space := settings{keys: keySpace{prefix: probeKey, size: 1, step: 1}, values: newValues(64, 1)}
	ask(loop, connection, putWork{space}, failed)
	p := &probe{loop: loop, connection: connection, work: getWork{space}, failed: failed}
	loop.every(interval, p.send)
	return p
}

func (p *probe) send() {
	call := p.connection.open(p.work.path(), p)
	p.request, call.slot = p.work.request(0, p.request[:0])
	p.connection.send(call, p.request, true)
	p.connection.flush()
	p.open++
}

func (p *probe) message(call *call, body []byte) {
	var answer answer
	err := parseAnswer(body, &answer)
	if err == nil {
		err = p.work.check(call.slot, &answer)
	}
	if err != nil {
		p.failed(fmt.Errorf("the probe: %w", err))
	}
}

func (p *probe) closed(call *call, err error) {
	if err != nil {
		p.failed(fmt.Errorf("the probe: %w", err))
		return
	}
	p.open--
	p.samples = append(p.samples, now()-call.started)
}

// finish stops asking, waits for what is under way and returns the distribution.
func (p *probe) finish() *Latency {
	p.loop.every(0, nil)
	p.loop.until(func() bool { return p.open == 0 })
	latency := summarise(p.samples)
	return &latency
}

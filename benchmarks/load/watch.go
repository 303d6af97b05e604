package main

// Watchers: how fast a change reaches all of them, and what they cost while nothing happens.

import "fmt"

const watchPath = "/etcdserverpb.Watch/Watch"

// crowd is all watchers of a run, one on each stream.
type crowd struct {
	size    int
	created int
	events  int
	latest  int64 // when the latest event came
	failed  func(error)
}

func (w *crowd) message(_ *call, body []byte) {
	events, created := 0, false
	for len(body) > 0 {
		found, rest, err := nextField(body)
		if err != nil {
			w.failed(err)
			return
		}
		body = rest
		switch found.number {
		case 3:
			created = found.value == 1
		case 4:
			w.failed(fmt.Errorf("a watcher was cancelled"))
		case 11:
			events++
		}
	}
	if created {
		w.created++
	}
	if events > 0 {
		w.events += events
		w.latest = now()
	}
}

func (w *crowd) closed(_ *call, err error) {
	w.failed(fmt.Errorf("a watch stream has ended: %v", err))
}

// join opens one watcher per stream: of the one key with number 0, or each of a prefix of its own.
func (w *crowd) join(loop *eventLoop, connections []*connection, streams int, keys keySpace, prefixes bool) {
	number := 0
	for _, connection := range connections {
		for range streams {
			connection.send(connection.open(watchPath, w), watchRequest(keys, number, prefixes), false)
			if prefixes {
				number++
			}
		}
		connection.flush()
	}
	loop.until(func() bool { return w.created == w.size })
}

// watchRequest creates a watcher of key `number`, or of everything below it.
func watchRequest(keys keySpace, number int, prefix bool) []byte {
	key := keys.appendKey(nil, number)
	if prefix {
		key = append(key, '/')
	}
	create := appendBytes(nil, 1, key)
	if prefix {
		end := append([]byte(nil), key...)
		end[len(end)-1]++
		create = appendBytes(create, 2, end)
	}
	return appendBytes(nil, 1, create)
}

// watchedPut puts the key that everybody watches, or a key below the n-th prefix.
type watchedPut struct {
	settings
	prefixes bool
}

func (watchedPut) path() string { return kv + "Put" }

func (w watchedPut) request(n int, out []byte) ([]byte, int) {
	var room [80]byte
	key := w.keys.appendKey(room[:0], 0)
	if w.prefixes {
		key = w.keys.appendKey(room[:0], w.keys.number(n))
		key = append(key, "/k"...)
	}
	out = appendBytes(out, 1, key)
	return w.appendValueField(out, 2, n), 0
}

func (watchedPut) check(_ int, answer *answer) error { return answer.mustHaveRevision() }

// FanOut is the outcome of a fan-out.
type FanOut struct {
	// Rates are those of puts in closed loops, until the last event of the last one.
	EventRate float64 `json:"events_per_second"`
	PutRate   float64 `json:"puts_per_second"`
	Latency           // from sending a put to the last watcher's event, one put at a time
}

// runFanOut first puts one at a time, each after all events of the one before, then as many again from
// `writers` closed loops.
func runFanOut(
	loop *eventLoop, crowd *crowd, writer *connection, writers int, bounds bounds, put watchedPut, failed func(error),
) FanOut {
	perPut := crowd.size
	if put.prefixes {
		perPut = 1
	}
	var samples []int64
	expected := 0
	for n := range bounds.warmup + bounds.calls {
		expected += perPut
		began := now()
		ask(loop, writer, numbered{put, n}, failed)
		loop.until(func() bool { return crowd.events >= expected })
		if n >= bounds.warmup {
			samples = append(samples, crowd.latest-began)
		}
	}
	expected += perPut * bounds.calls
	began := now()
	runUnary(loop, []*connection{writer}, writers, boundsOf(bounds.calls), put, failed)
	loop.until(func() bool { return crowd.events >= expected })
	seconds := float64(crowd.latest-began) / 1e9
	if crowd.events != expected {
		failed(fmt.Errorf("%d events came instead of %d", crowd.events, expected))
	}
	return FanOut{
		EventRate: float64(perPut*bounds.calls) / seconds, PutRate: float64(bounds.calls) / seconds,
		Latency: summarise(samples),
	}
}

func boundsOf(calls int) bounds { return bounds{calls: calls} }

// numbered is a work whose request 0 is another's n-th.
type numbered struct {
	work
	n int
}

func (w numbered) request(_ int, out []byte) ([]byte, int) { return w.work.request(w.n, out) }

package main

// What is asked once: whether a server is there, and a snapshot.

import (
	"cmp"
	"fmt"
	"time"
)

const readyInterval = time.Millisecond

// waitUntilReady tries to get a key until it has an answer, and returns when that was, in nanoseconds
// since 1970.  The read is linearizable: who answers it has a leader and has recovered.
func waitUntilReady(loop *eventLoop, address string) int64 {
	for {
		if err := tryOnce(loop, address); err == nil {
			return time.Now().UnixNano()
		}
		loop.sleep(readyInterval)
	}
}

func tryOnce(loop *eventLoop, address string) error {
	var trouble error
	connection, err := dial(loop, address, headers{}, 1, func(err error) { trouble = err })
	if err != nil {
		return err
	}
	defer connection.close()
	space := settings{keys: keySpace{prefix: probeKey, size: 1, step: 1}}
	waiting := &single{work: anyGet{getWork{space}}}
	waiting.start(connection)
	loop.until(func() bool { return waiting.done || trouble != nil })
	return cmp.Or(trouble, waiting.err)
}

// anyGet is a get that doesn't mind whether the key is there.
type anyGet struct{ getWork }

func (anyGet) check(_ int, answer *answer) error { return answer.mustHaveRevision() }

// snapshotStream counts what comes of Maintenance.Snapshot.
type snapshotStream struct {
	bytes int
	err   error
	done  bool
}

func (s *snapshotStream) message(_ *call, body []byte) { s.bytes += len(body) }

func (s *snapshotStream) closed(_ *call, err error) {
	s.err = err
	s.done = true
}

// runSnapshot takes one whole snapshot.
func runSnapshot(loop *eventLoop, connection *connection, failed func(error)) Closed {
	meter := newMeter(boundsOf(1))
	stream := &snapshotStream{}
	connection.send(connection.open(maintenance+"Snapshot", stream), nil, true)
	connection.flush()
	loop.until(func() bool { return stream.done })
	if stream.err == nil && stream.bytes == 0 {
		stream.err = fmt.Errorf("no bytes")
	}
	if stream.err != nil {
		failed(fmt.Errorf("snapshot: %w", stream.err))
	}
	meter.done()
	return meter.outcome([]int64{meter.ended - meter.started})
}

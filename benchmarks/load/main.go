// Command load makes calls to an etcd server and measures them: `python -m benchmarks` runs it.
//
// It is light on purpose: where servers and generator share two cores, a generator that costs as much as
// the server hides what it should measure.  So it talks HTTP/2 frames and protobuf itself instead of going
// through a gRPC library, but sends what such a library sends.  Every answer is checked.
//
// One JSON object goes to standard output.  Any wrong answer ends the process with status 1.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Report is what a run prints.
type Report struct {
	Op string `json:"op"`
	Closed
	Probe  *Latency `json:"probe,omitempty"`
	FanOut *FanOut  `json:"fan_out,omitempty"`
	// AnsweredAt is when a server first answered, in nanoseconds since 1970.
	AnsweredAt int64 `json:"answered_at_ns,omitempty"`
}

type options struct {
	op, address, prefix, order, header      string
	connections, streams                    int
	warmup, calls, keys, valueBytes         int
	span, limit, expect, writers            int
	seed                                    int64
	seconds, deadline, probe, lead, timeout time.Duration
	prefixes                                bool
}

func parse() options {
	var o options
	flag.StringVar(&o.op, "op", "put", "put get cas delete list page count load lease-grant lease-keepalive "+
		"delete-range compact hashkv snapshot fan-out hold-watchers ready")
	flag.StringVar(&o.address, "address", "127.0.0.1:2379", "host:port of the server")
	flag.IntVar(&o.connections, "connections", 1, "how many connections")
	flag.IntVar(&o.streams, "streams", 1, "calls, or watchers, at a time on each connection")
	flag.IntVar(&o.calls, "calls", 0, "how many calls to measure; 0 to go by -seconds")
	flag.DurationVar(&o.seconds, "seconds", time.Second, "how long to measure")
	flag.IntVar(&o.warmup, "warmup", 0, "calls that are made before and don't count")
	flag.StringVar(&o.prefix, "prefix", "key/", "how keys begin")
	flag.IntVar(&o.keys, "keys", 100_000, "how many different keys there are")
	flag.StringVar(&o.order, "order", "permutation", "in which order keys come: sequence or permutation")
	flag.IntVar(&o.valueBytes, "value", 256, "bytes of a value")
	flag.IntVar(&o.span, "span", 100, "keys of a list, a range that is deleted, a transaction of a load")
	flag.IntVar(&o.limit, "limit", 1000, "keys of a page")
	flag.IntVar(&o.expect, "expect", 0, "what a count must give")
	flag.Int64Var(&o.seed, "seed", 1, "of everything that is random")
	flag.DurationVar(&o.deadline, "deadline", 0, "send grpc-timeout headers of about so long")
	flag.StringVar(&o.header, "header", "", "name:value, sent with each call")
	flag.DurationVar(&o.probe, "probe", 0, "meanwhile, get another key at this interval")
	flag.DurationVar(&o.lead, "lead", 0, "how long to probe before and after the calls")
	flag.IntVar(&o.writers, "writers", 16, "fan-out: puts at a time")
	flag.BoolVar(&o.prefixes, "prefixes", false, "each watcher has a prefix of its own, instead of all one key")
	flag.DurationVar(&o.timeout, "timeout", 5*time.Minute, "give up after so long")
	flag.Parse()
	if flag.NArg() > 0 {
		fail(fmt.Errorf("unknown argument %q", flag.Arg(0)))
	}
	return o
}

func main() {
	o := parse()
	runtime.GOMAXPROCS(1) // see loop.go
	debug.SetGCPercent(400)
	report := run(o)
	report.Op = o.op
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "load:", err)
	os.Exit(1)
}

func run(o options) Report {
	loop := newEventLoop(o.timeout)
	if o.op == "ready" {
		return Report{AnsweredAt: waitUntilReady(loop, o.address)}
	}
	space, err := newKeySpace(o.prefix, o.keys, o.order, o.seed)
	if err != nil {
		fail(err)
	}
	with := settings{keys: space, values: newValues(o.valueBytes, o.seed), span: o.span, limit: o.limit, expect: o.expect}
	connections := make([]*connection, o.connections)
	for i := range connections {
		connections[i] = mustDial(loop, o, uint64(i+1))
	}
	var watching *probe
	if o.probe > 0 {
		watching = startProbe(loop, mustDial(loop, o, 0x9E3779B9), o.probe, fail)
		loop.sleep(o.lead)
	}
	report := measure(loop, o, with, connections)
	if watching != nil {
		loop.sleep(o.lead)
		report.Probe = watching.finish()
	}
	return report
}

func measure(loop *eventLoop, o options, with settings, connections []*connection) Report {
	bounds := bounds{warmup: o.warmup, calls: o.calls, seconds: o.seconds}
	switch o.op {
	case "lease-keepalive":
		return Report{Closed: runKeepAlive(loop, connections, o.streams, bounds, fail)}
	case "fan-out", "hold-watchers":
		crowd := &crowd{size: o.connections * o.streams, failed: fail}
		crowd.join(loop, connections, o.streams, with.keys, o.prefixes)
		if o.op == "hold-watchers" {
			fmt.Println(`{"ready": true}`)
			loop.waitForEnd()
			return Report{}
		}
		put := watchedPut{with, o.prefixes}
		outcome := runFanOut(loop, crowd, mustDial(loop, o, 7), o.writers, bounds, put, fail)
		return Report{FanOut: &outcome}
	case "compact":
		// The answer to anything tells the revision to compact at.
		seen := ask(loop, connections[0], countWork{withExpectation(with)}, fail)
		return Report{Closed: runUnary(loop, connections, 1, boundsOf(1), compactWork{seen.revision}, fail)}
	case "snapshot":
		return Report{Closed: runSnapshot(loop, connections[0], fail)}
	}
	make, known := works[o.op]
	if !known {
		fail(fmt.Errorf("unknown -op %q", o.op))
	}
	return Report{Closed: runUnary(loop, connections, o.streams, bounds, make(with), fail)}
}

// withExpectation is the settings for counting a space that no key has: only the revision matters.
func withExpectation(with settings) settings {
	with.keys.prefix = "no such key/"
	with.expect = 0
	return with
}

func mustDial(loop *eventLoop, o options, seed uint64) *connection {
	with := headers{deadline: o.deadline}
	if name, value, given := strings.Cut(o.header, ":"); given {
		with.extra = append(with.extra, hpack.HeaderField{Name: name, Value: value})
	}
	made, err := dial(loop, o.address, with, seed+uint64(o.seed)<<32, fail)
	if err != nil {
		fail(err)
	}
	return made
}

// cpuTime is what this process has used of the processors.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

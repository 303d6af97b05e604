package main

// Latencies: every one is kept, and sorted at the end, so that percentiles are exact.

import (
	"slices"
	"time"
)

var processStart = time.Now()

// now is nanoseconds on the monotonic clock since the process began.
func now() int64 {
	return int64(time.Since(processStart))
}

// Latency is a distribution, in microseconds.
type Latency struct {
	Calls int     `json:"calls"`
	Mean  float64 `json:"mean_us"`
	P50   float64 `json:"p50_us"`
	P90   float64 `json:"p90_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p999_us"`
	Max   float64 `json:"max_us"`
}

// summarise sorts the nanoseconds it is given.
func summarise(samples ...[]int64) Latency {
	all := slices.Concat(samples...)
	if len(all) == 0 {
		return Latency{}
	}
	slices.Sort(all)
	sum := 0.0
	for _, one := range all {
		sum += float64(one)
	}
	at := func(share float64) float64 {
		return float64(all[int(share*float64(len(all)-1)+0.5)]) / 1e3
	}
	return Latency{
		Calls: len(all), Mean: sum / float64(len(all)) / 1e3,
		P50: at(0.50), P90: at(0.90), P99: at(0.99), P999: at(0.999), Max: at(1),
	}
}

//go:build race

package ipsec_test

// raceEnabled: under the race detector a sync.Pool forgets at random, so allocations cannot be counted.
const raceEnabled = true

//go:build race

package illumos_test

const raceEnabled = true

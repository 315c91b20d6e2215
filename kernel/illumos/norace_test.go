//go:build !race

package illumos_test

const raceEnabled = false

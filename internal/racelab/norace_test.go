//go:build !race

package racelab_test

const raceEnabled = false

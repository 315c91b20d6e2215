package engine_test

import (
	"bytes"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
)

// Messages stay as they were made, whatever comes after them, and cost few allocations.
func TestArena(t *testing.T) {
	message := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 100+i) }
	var a engine.Arena
	var made [][]byte
	for i := range 200 {
		m := a.Message(120, func(b []byte) []byte { return append(b, message(i)...) })
		made = append(made, m)
		if cap(m) != len(m) {
			t.Fatalf("there is room behind a message: %d of %d bytes", len(m), cap(m))
		}
	}
	for i, m := range made {
		if !bytes.Equal(m, message(i)) {
			t.Errorf("message %d is %x", i, m)
		}
	}
	var whole [320]byte
	pieces := testing.AllocsPerRun(1, func() {
		var a engine.Arena
		for range 1000 {
			a.Message(len(whole), func(b []byte) []byte { return append(b, whole[:]...) })
		}
	})
	if pieces > 30 {
		t.Errorf("1000 messages took %v pieces of memory", pieces)
	}
}

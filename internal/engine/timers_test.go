package engine_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
)

// Timers run when they are due, those for one moment in the order in which they were set, and one that sets itself anew
// for this very moment in the next run.
func TestTimers(t *testing.T) {
	var (
		q     engine.Timers
		fired []string
	)
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	timer := func(name string) *engine.Timer {
		return &engine.Timer{Fire: func(time.Time) { fired = append(fired, name) }}
	}
	late, early, twin, moved, stopped := timer("late"), timer("early"), timer("twin"), timer("moved"), timer("stopped")
	again := &engine.Timer{}
	again.Fire = func(now time.Time) {
		fired = append(fired, "again")
		q.Set(again, now)
	}
	q.Set(late, at(9))
	q.Set(moved, at(1))
	q.Set(early, at(3))
	q.Set(stopped, at(2))
	q.Set(again, at(3))
	q.Set(twin, at(3))
	q.Set(moved, at(5))
	if !q.Stop(stopped) || q.Stop(stopped) {
		t.Error("a timer that is set is stopped once")
	}
	if when, set := moved.When(); !set || !when.Equal(at(5)) {
		t.Errorf("moved runs at %v, %v", when, set)
	}
	if _, set := stopped.When(); set {
		t.Error("a stopped timer is set")
	}
	for _, step := range []struct {
		next, run int64
		want      []string
	}{
		{3, 2, nil},
		{3, 4, []string{"early", "again", "twin"}},
		{4, 4, []string{"again"}},
		{4, 5, []string{"again", "moved"}},
	} {
		fired = nil
		if next, ok := q.Next(); !ok || !next.Equal(at(step.next)) {
			t.Errorf("next is %v, %v, want %d", next, ok, step.next)
		}
		if q.Run(at(step.run)); !slices.Equal(fired, step.want) {
			t.Errorf("at %d: %q, want %q", step.run, fired, step.want)
		}
	}
	q.Stop(again)
	q.Stop(late)
	if next, ok := q.Next(); ok {
		t.Errorf("none is set, and next is %v", next)
	}
}

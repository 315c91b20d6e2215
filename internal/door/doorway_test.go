//go:build unix

package door_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/door"
)

// A Doorway lets in who may, as many as fit, through all its listeners until it is shut.
func TestDoorway(t *testing.T) {
	full := errors.New("full")
	stranger := errors.New("a stranger")
	var strangers atomic.Bool
	type guest struct {
		refusal error
		left    func()
	}
	guests := make(chan guest, 1)
	d := door.NewDoorway(door.Rules{
		Check: func(net.Conn) error {
			if strangers.Load() {
				return stranger
			}
			return nil
		},
		Max: 2, Full: full,
	})
	enter := func(c net.Conn, refusal error, left func()) {
		c.Close()
		guests <- guest{refusal, left}
	}
	var paths []string
	var ends []chan error
	serve := func() {
		path := filepath.Join(t.TempDir(), "s")
		l, err := door.Listen("unixpacket", path)
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan error, 1)
		go func() { end <- d.Serve(l, enter) }()
		paths, ends = append(paths, path), append(ends, end)
	}
	come := func(path string) guest {
		t.Helper()
		c, err := net.Dial("unixpacket", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		return <-guests
	}
	serve()
	serve()
	first, second := come(paths[0]), come(paths[1])
	if first.refusal != nil || second.refusal != nil {
		t.Errorf("two guests: %v, %v", first.refusal, second.refusal)
	}
	third := come(paths[0])
	if third.refusal != full {
		t.Errorf("a third guest: %v", third.refusal)
	}
	third.left()
	second.left()
	strangers.Store(true)
	if g := come(paths[1]); g.refusal != stranger {
		t.Errorf("a stranger: %v", g.refusal)
	} else {
		g.left()
	}
	strangers.Store(false)
	if g := come(paths[1]); g.refusal != nil {
		t.Errorf("a guest in the place of another: %v", g.refusal)
	}
	if d.Shutting() {
		t.Error("it is shut before anybody has asked")
	}
	d.Shut()
	d.Shut()
	if err := d.Wait(context.Background()); err != nil {
		t.Error(err)
	}
	for _, end := range ends {
		if err := <-end; err != nil {
			t.Errorf("shut: %v", err)
		}
	}
	serve()
	if err := <-ends[2]; err != nil {
		t.Errorf("through a doorway that is shut: %v", err)
	}
	if _, err := net.Dial("unixpacket", paths[2]); err == nil {
		t.Error("somebody listens all the same")
	}
}

// Who waits for a doorway goes on when his context ends.
func TestDoorwayWait(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	d := door.NewDoorway(door.Rules{})
	enter := func(c net.Conn, _ error, left func()) {
		close(entered)
		<-leave
		c.Close()
		left()
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := door.Listen("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- d.Serve(l, enter) }()
	c, err := net.Dial("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-entered
	d.Shut()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(leave)
	if err := d.Wait(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-end; err != nil {
		t.Error(err)
	}
}

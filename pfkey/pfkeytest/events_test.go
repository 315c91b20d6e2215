package pfkeytest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A host tells what happens on it, from its beginning, in order.
func TestEvents(t *testing.T) {
	host := pfkeytest.New(t)
	client := host.Client()
	events := host.Events(event.Filter{})
	if err := client.Flush(t.Context(), wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	host.Inject([]byte{0x45})
	var got []string
	for _, e := range events.Past() {
		got = append(got, fmt.Sprint(e.N, " ", e.Type, " ", e.Socket))
	}
	want := []string{"1 opened 1", "2 message 1", "3 message 1", "4 packet 0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
	if past := events.Past(); past != nil {
		t.Errorf("%v a second time", past)
	}

	packets := host.Events(event.Filter{Types: []event.Type{event.Packet}})
	if e, err := packets.Next(t.Context()); err != nil || e.Packet.Verdict != "dropped" {
		t.Errorf("%+v, %v", e.Packet, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := packets.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("no event yet: %v", err)
	}
	go host.Inject([]byte{0x46})
	if e, err := packets.Next(t.Context()); err != nil || e.Packet.Data != "46" {
		t.Errorf("%+v, %v", e.Packet, err)
	}

	host.Close()
	last, err := events.Find(t.Context(), event.Filter{Types: []event.Type{event.Closed}})
	if err != nil || last.Socket != 1 {
		t.Errorf("the client's socket: %+v, %v", last, err)
	}
	if e, err := events.Next(t.Context()); err != io.EOF {
		t.Errorf("behind the end: %+v, %v", e, err)
	}
}

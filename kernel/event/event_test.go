package event_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/kernel/event"
)

// page is the documentation of events.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// table is the first cells of a table behind a heading, each with the second one if both is set.
func table(t *testing.T, page, heading, head string, both bool) (rows []string) {
	t.Helper()
	_, text, ok := strings.Cut(page, "\n## "+heading+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	_, text, ok2 := strings.Cut(text, "\n| "+head)
	if !ok || !ok2 {
		t.Fatalf("there is no table %q behind %q", head, heading)
	}
	text, _, _ = strings.Cut(text, "\n\n")
	for _, line := range strings.Split(strings.TrimSpace(text), "\n")[2:] {
		cells := strings.Split(line, "|")
		row := strings.Trim(cells[1], " `")
		if both {
			row += ": " + strings.TrimSpace(cells[2])
		}
		rows = append(rows, row)
	}
	return rows
}

// fields are those of a struct as JSON has them, and the structs that they point to by their names.
func fields(s reflect.Type) (rows []string, below map[string]reflect.Type) {
	below = map[string]reflect.Type{}
	for f := range s.Fields() {
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		var kind string
		switch k := f.Type.Kind(); {
		case k == reflect.Pointer:
			kind = "object"
			below[name] = f.Type.Elem()
		case k == reflect.String, f.Type == reflect.TypeFor[time.Time]():
			kind = "string"
		default:
			kind = "number"
		}
		if option == "omitempty" {
			kind += ", or absent"
		}
		rows = append(rows, name+": "+kind)
	}
	return rows, below
}

// The page has every field and every type there is, and no other.
func TestPage(t *testing.T) {
	text := page(t)
	rows, below := fields(reflect.TypeFor[event.Event]())
	if diff := cmp.Diff(rows, table(t, text, "Every event", "field", true)); diff != "" {
		t.Errorf("fields of every event (-code +page)\n%s", diff)
	}
	for name, s := range below {
		rows, _ := fields(s)
		if diff := cmp.Diff(rows, table(t, text, name, "field", true)); diff != "" {
			t.Errorf("fields of %s (-code +page)\n%s", name, diff)
		}
	}
	var types []string
	for _, typ := range event.Types() {
		types = append(types, string(typ))
	}
	if diff := cmp.Diff(types, table(t, text, "Every event", "type", false)); diff != "" {
		t.Errorf("types (-code +page)\n%s", diff)
	}
	for _, value := range []string{event.ToKernel, event.ToProgram, event.WhyUnread, event.WhyFast, event.WhySlow} {
		if !strings.Contains(text, "`"+value+"`:") {
			t.Errorf("the page does not say what %q means", value)
		}
	}
}

// The examples on the page are events.
func TestPageExamples(t *testing.T) {
	lines := regexp.MustCompile(`(?m)^\{.*\}$`).FindAllString(page(t), -1)
	for _, line := range lines {
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		var e event.Event
		if err := d.Decode(&e); err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		var again bytes.Buffer
		if err := json.NewEncoder(&again).Encode(&e); err != nil || again.String() != line+"\n" {
			t.Errorf("%s becomes %s, %v", line, &again, err)
		}
	}
	if len(lines) < 3 {
		t.Errorf("%d examples", len(lines))
	}
}

// A filter takes what matches each of its choices.
func TestFilter(t *testing.T) {
	message := &event.Event{Type: event.Message, Socket: 1, Message: &event.MessageEvent{Name: "ADD", SPI: "0x1000"}}
	lost := &event.Event{Type: event.Lost, Socket: 2}
	sa := &event.Event{Type: event.SA, SA: &event.SAEvent{SPI: "0x1000"}}
	packet := &event.Event{Type: event.Packet, Packet: &event.PacketEvent{SPI: "0x2000"}}
	events := &event.Event{Type: event.Missing, Missing: &event.MissingEvent{}}
	packets := &event.Event{Type: event.Missing, Missing: &event.MissingEvent{Of: event.Packet}}
	all := []*event.Event{message, lost, sa, packet, events, packets}
	for _, tt := range []struct {
		f       event.Filter
		want    []*event.Event
		packets bool
	}{
		{event.Filter{}, all, true},
		{event.Filter{Types: []event.Type{event.Lost, event.SA}}, []*event.Event{lost, sa, events}, false},
		{event.Filter{Types: []event.Type{event.Packet}}, []*event.Event{packet, events, packets}, true},
		{event.Filter{Messages: []string{"GET", "ADD"}}, []*event.Event{message, events}, false},
		{event.Filter{Messages: []string{"ADD"}, Types: []event.Type{event.Packet}},
			[]*event.Event{message, packet, events, packets}, true},
		{event.Filter{Sockets: []uint64{2}}, []*event.Event{lost, events}, false},
		{event.Filter{SPIs: []uint32{0x1000}}, []*event.Event{message, sa, events, packets}, true},
		{event.Filter{SPIs: []uint32{0x2000}, Types: []event.Type{event.SA, event.Packet}},
			[]*event.Event{packet, events, packets}, true},
		{event.Filter{SPIs: []uint32{0x1000}, Sockets: []uint64{2}}, []*event.Event{events}, false},
	} {
		var got []*event.Event
		for _, e := range all {
			if tt.f.Match(e) {
				got = append(got, e)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || tt.f.Packets() != tt.packets {
			t.Errorf("%+v, packets %v (-want +got)\n%s", tt.f, tt.f.Packets(), diff)
		}
	}
}

// Words become types and SPIs, and the errors say what there is.
func TestParse(t *testing.T) {
	for _, typ := range event.Types() {
		if got, err := event.ParseType(string(typ)); got != typ || err != nil {
			t.Errorf("%s: %s, %v", typ, got, err)
		}
	}
	for _, text := range []string{"", "Packet", "packets"} {
		if got, err := event.ParseType(text); err == nil || !strings.Contains(err.Error(), "opened closed") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]uint32{"0x1000": 0x1000, "4096": 0x1000, "0": 0, "0xffffffff": 0xffffffff} {
		if got, err := event.ParseSPI(text); got != want || err != nil {
			t.Errorf("%s: %#x, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "0x100000000", "1000h"} {
		if got, err := event.ParseSPI(text); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q: %#x, %v", text, got, err)
		}
	}
}

package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pfkeyd/pfkeyd/wire"
)

// sameValue compares parsed values; an empty list is as good as none.
var sameValue = cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

var update = flag.Bool("update", false, "rewrite golden files")

func diffLines(want, got string) string {
	return cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n"))
}

// Every recorded message, read extension by extension and written again, gives the same bytes. Extensions with junk in
// reserved bytes or more room than they need are listed beside the message and give the same value instead.
func TestRoundTripRecordings(t *testing.T) {
	for _, d := range little() {
		t.Run(d.Name, func(t *testing.T) {
			msgs := recordings(t, d)
			if len(msgs) < 300 {
				t.Fatalf("only %d messages", len(msgs))
			}
			var exts int
			for i, m := range msgs {
				var strange []string
				for x, err := range d.Walk(m.msg) {
					if err != nil {
						break
					}
					c, ok := codecOf(d, x.Type)
					if !ok {
						continue
					}
					v, err := c.parse(d, x.Raw)
					if err != nil {
						continue
					}
					exts++
					got := c.append(d, nil, v)
					if !bytes.Equal(got, x.Raw) {
						strange = append(strange, fmt.Sprint(x.Offset))
					}
					again, err := c.parse(d, got)
					if err != nil {
						t.Errorf("%s: %s at %d, written again: %v", m.name, d.ExtName(x.Type), x.Offset, err)
					} else if diff := cmp.Diff(v, again, sameValue); diff != "" {
						t.Errorf("%s: %s at %d, read twice (-first +second):\n%s", m.name, d.ExtName(x.Type), x.Offset,
							diff)
					}
				}
				s := strings.Join(strange, ",")
				if s != m.strange && !*update {
					t.Errorf("%s: extensions at %q are not written as they came, want %q", m.name, s, m.strange)
				}
				msgs[i].strange = s
			}
			if exts < 1000 {
				t.Errorf("only %d extensions", exts)
			}
			if *update {
				rewrite(t, d, msgs)
			}
		})
	}
}

// rewrite writes the fifth column anew.
func rewrite(t *testing.T, d *dialect, msgs []recorded) {
	path := "testdata/" + d.Name + ".messages"
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for line := range strings.Lines(string(old)) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		b.WriteString(line)
	}
	for _, m := range msgs {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%s %x %s", m.name, m.msg, m.strange), " ") + "\n")
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A message survives the way into the other byte order and back.
func TestOtherByteOrder(t *testing.T) {
	for _, d := range little() {
		big := d.WithOrder(binary.BigEndian)
		for _, m := range recordings(t, d) {
			if m.strange != "" || d.Validate(m.msg) != nil || hasUnknown(d, m.msg) {
				continue
			}
			other := swap(d, big, m.msg)
			if err := big.Validate(other); err != nil {
				t.Errorf("%s in big endian: %v", m.name, err)
			}
			if got, want := big.Line(other), d.Line(m.msg); got != want {
				t.Errorf("%s in big endian:\n got %s\nwant %s", m.name, got, want)
			}
			if len(m.msg) > wire.HeaderLen && d.Validate(other) == nil {
				t.Errorf("%s is valid in the wrong byte order", m.name)
			}
			if back := swap(big, d, other); !bytes.Equal(back, m.msg) {
				t.Errorf("%s: there and back\n got %x\nwant %x", m.name, back, m.msg)
			}
		}
	}
}

func hasUnknown(d *dialect, msg []byte) bool {
	for x := range d.Walk(msg) {
		if _, ok := codecOf(d, x.Type); !ok {
			return true
		}
	}
	return false
}

// What a kernel answers is valid, unless it echoes what a hostile client sent or has a known quirk.
func TestRecordedAnswersAreValid(t *testing.T) {
	for _, d := range little() {
		bad := 0
		for _, m := range recordings(t, d) {
			err := d.Validate(m.msg)
			hostile := slices.ContainsFunc([]string{"mut/", "parse/", "promisc/", "base/", "order/",
				"broadcast/promisc", "broadcast/five-errors"}, func(class string) bool {
				return strings.HasPrefix(m.name, class)
			})
			h, _ := d.Header(m.msg)
			switch {
			case !m.answer || err == nil:
			case h.Type == wire.MsgXPromisc: // around a message, where extensions should be
			case d.Name == "netbsd" && strings.HasPrefix(m.name, "acquire/tunnel-no-addresses") && errors.Is(err,
				wire.ErrShort): // NetBSD tells what it has of such a tunnel: addresses without sockaddrs
			case strings.HasPrefix(m.name, "spd/tunnel-other-family-plus-transport") && errors.Is(err, wire.ErrLength):
				// Linux computes the wrong message length for such a policy.
			case hostile:
				bad++
			default:
				t.Errorf("%s %s: %v", d.Name, m.name, err)
			}
		}
		if bad > 20 {
			t.Errorf("%s: %d echoes are invalid, more than there can be", d.Name, bad)
		}
	}
}

package cli

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/refusals"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// realCounters are those of a real Linux that say why packets were dropped, by the names that nstat(8) gives them.
func realCounters(t *testing.T) map[string]uint64 {
	t.Helper()
	m := map[string]uint64{}
	put := func(name, value string) {
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return
		}
		for _, word := range []string{"Err", "Truncated", "Unknown", "Discard", "NoRoutes", "Reasm", "Martian",
			"RPFilter"} {
			if strings.HasPrefix(name, "Xfrm") || strings.HasPrefix(name, "Ip") && strings.Contains(name, word) {
				m[name] = n
			}
		}
	}
	for _, file := range []string{"snmp", "netstat"} {
		text, err := os.ReadFile("/proc/net/" + file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		for i := 0; i+1 < len(lines); i += 2 {
			names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
			for j := 1; j < len(names); j++ {
				put(strings.TrimSuffix(names[0], ":")+names[j], values[j])
			}
		}
	}
	for _, file := range []string{"snmp6", "xfrm_stat"} {
		text, err := os.ReadFile("/proc/net/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 2 {
				put(f[0], f[1])
			}
		}
	}
	return m
}

// TestPacketsRefused sends the packets of the table to a real kernel, and looks at its counters: they are what the
// table says.
func TestPacketsRefused(t *testing.T) {
	asked(t)
	tun, err := openTUN("wire2")
	if err != nil {
		t.Fatal(err)
	}
	defer tun.Close()
	cable(t, "wire2")
	them := newTalker(t)
	c, err := pfkey.Dial(t.Context(), "af_key:")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	refusals.SetUp(t, c)
	n := 0
	for _, six := range []bool{false, true} {
		for _, r := range refusals.List(t, six) {
			before := realCounters(t)
			if _, err := tun.Write(r.Packet); err != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
			// The device hands the packet over before Write returns. A program that gets it may need a moment more.
			delivered := them.heard(six)
			for until := time.Now().Add(wireTime); !delivered && r.Reason == packet.NoReason &&
				time.Now().Before(until); {
				delivered = them.heard(six)
			}
			r.Judge(t, delivered, refusals.Moved(before, realCounters(t)))
			n++
		}
	}
	fmt.Printf("packets: refused as by a real kernel: %d packets\n", n)
}

// heard tells whether a program has got a datagram of a family.
func (l *talker) heard(six bool) bool {
	for _, a := range []netip.Addr{theirsOuter[six], theirsInner[six]} {
		s := l.socks[a]
		s.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, _, err := s.ReadFromUDPAddrPort(make([]byte, 2000)); err == nil {
			return true
		}
	}
	return false
}

package ipsec_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/linux"
	"github.com/pfkeyd/pfkeyd/ipsec"
)

const captures = "../testdata/pcaps/esp-linux-6.1"

// TestCaptures opens every packet that a Linux kernel protected, finds what it had protected, and seals that again to
// the same bytes. Package conform does it; here it is done on machines of other word sizes and byte orders too.
func TestCaptures(t *testing.T) {
	rep, err := conform.Run(context.Background(), conform.Config{Kernel: linux.Kernel, Paths: []string{captures}})
	if err != nil || rep.Unreadable != nil {
		t.Fatal(err, rep.Unreadable)
	}
	for _, r := range rep.Results {
		for _, d := range r.Differences {
			t.Errorf("%s: %v", r.Scenario, d)
		}
	}
	if rep.Passed < 100 {
		t.Errorf("%d captures passed", rep.Passed)
	}
}

// TestSpoilt seals with every suite behind what stands in dst, and opens the packet with one bit after the other
// flipped.
func TestSpoilt(t *testing.T) {
	inner := ip4(17, nil, udp(1, 2, sequence(0, 20)))
	for _, s := range suites() {
		t.Run(s.String(), func(t *testing.T) {
			tr := newTransform(t, s)
			const seq = 7<<32 | 9
			seal := ipsec.Sealing{SPI: 1, Seq: seq, IV: sequence(0, tr.IVLen())}
			for mode, protect := range map[string]func(dst []byte) ([]byte, error){
				"tunnel": func(dst []byte) ([]byte, error) {
					return tr.SealTunnel(dst, inner, &ipsec.Outer{Src: v4a, Dst: v4b}, ipsec.Ports{}, seal)
				},
				"transport": func(dst []byte) ([]byte, error) {
					return tr.SealTransport(dst, inner, ipsec.Ports{},
						seal)
				},
			} {
				pkt, err := protect([]byte("before"))
				if err != nil {
					t.Fatal(err)
				}
				pkt, ok := bytes.CutPrefix(pkt, []byte("before"))
				if alone, err := protect(nil); !ok || err != nil || !bytes.Equal(alone, pkt) {
					t.Fatalf("%s: %x behind what stood in dst, %x alone, %v", mode, pkt, alone, err)
				}
				in, err := ipsec.ParseInbound(pkt)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := open(tr, pkt, &in, seq>>32, mode); err != nil || !bytes.Equal(got, inner) {
					t.Fatalf("%s: opened to %x, %v", mode, got, err)
				}
				if !tr.Authenticated() {
					continue
				}
				for at := in.Off; at < in.End; at++ {
					bad := bytes.Clone(pkt)
					bad[at] ^= 1 << (at % 8)
					if _, err := open(tr, bad, &in, seq>>32, mode); err == nil || s.Proto == ipsec.ESP &&
						err != ipsec.ErrICV {
						t.Fatalf("%s: with a bit flipped in byte %d: %v, want ErrICV", mode, at, err)
					}
				}
			}
		})
	}
}

// open is what undoes the sealing in a mode.
func open(tr *ipsec.Transform, pkt []byte, in *ipsec.Inbound, seqHi uint32, mode string) ([]byte, error) {
	if mode == "tunnel" {
		return tr.OpenTunnel(pkt, in, seqHi)
	}
	return tr.OpenTransport(pkt, in, seqHi)
}

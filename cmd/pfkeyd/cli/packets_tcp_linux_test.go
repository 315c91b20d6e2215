package cli

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

const bgp = 179

// TestPacketsSigned has the engine of each BSD sign the first segment of a TCP connection (RFC 2385). A program on the
// real kernel that wants signatures answers it, and not one that is signed with another key or not at all; the answer
// passes the engine's own check.
func TestPacketsSigned(t *testing.T) {
	asked(t)
	port := uint16(2000) // a new one each time: what is left of a connection refuses what comes from its port
	for _, kernel := range []string{"freebsd", "netbsd", "openbsd"} {
		t.Run(kernel, func(t *testing.T) {
			r := newRig(t, kernel)
			for _, six := range []bool{false, true} {
				ours, theirs := oursOuter[six], theirsOuter[six]
				if !listenSigned(t, theirs, ours, "secret") {
					fmt.Println("packets: TCP signatures: skipped: the kernel has no TCP_MD5SIG")
					t.Skip("the kernel has no TCP_MD5SIG")
				}
				for _, tt := range []struct {
					key     string
					refused string // the counter that says why
				}{{"secret", ""}, {"wrong", "TCPMD5Failure"}, {"", "TCPMD5NotFound"}} {
					r.sign(t, ours, theirs, tt.key)
					before := netstat(t, tt.refused)
					patience := time.Second // nobody says that no answer comes
					if tt.refused == "" {
						patience = wireTime
					}
					port++
					answered := r.connect(t, ours, theirs, port, patience)
					if answered != (tt.refused == "") {
						t.Errorf("key %q: answered: %v", tt.key, answered)
					}
					if after := netstat(t, tt.refused); tt.refused != "" && after == before {
						t.Errorf("key %q: %s does not move", tt.key, tt.refused)
					}
				}
			}
			fmt.Printf("packets: %s engine: TCP signatures as the kernel's TCP_MD5SIG\n", kernel)
		})
	}
}

// sign has the engine sign and check with a key; none if it is empty.
func (r *rig) sign(t *testing.T, ours, theirs netip.Addr, key string) {
	t.Helper()
	ctx := t.Context()
	if err := r.ours.Flush(ctx, wire.SATypeUnspec); err != nil {
		t.Fatal(err)
	}
	for i, ends := range [][2]netip.Addr{{ours, theirs}, {theirs, ours}} {
		sa := pfkey.SA{Auth: wire.AuthMD5, AuthKey: pfkey.NewKey([]byte(key))}
		sa.SAID = pfkey.SAID{Type: wire.SATypeTCPSig, SPI: 0x1000, Src: pfkey.Host(ends[0]), Dst: pfkey.Host(ends[1])}
		if r.kernel == "freebsd" { // where every SA has an SPI of its own
			sa.SPI += wire.SPI(i)
		} else if r.kernel == "openbsd" { // where there is but one algorithm
			sa.Auth = 0
		}
		if key != "" {
			if err := r.ours.Add(ctx, sa, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// connect sends the first segment of a connection and says whether the second one comes, and is signed.
func (r *rig) connect(t *testing.T, ours, theirs netip.Addr, port uint16, patience time.Duration) bool {
	t.Helper()
	from, to := netip.AddrPortFrom(ours, port), netip.AddrPortFrom(theirs, bgp)
	syn, err := ip.SYN(from, to, 1, 65535, []byte{2, 4, 5, 0xb4})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.port.Inject(t.Context(), syn, packetport.Outbound, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		v, err := r.port.Recv(ctx)
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			return false
		}
		var h ip.Header
		if v.Kind != packet.Delivered || h.Parse(v.Inner) != ip.Fine || h.Proto != ip.ProtoTCP || h.Src != theirs ||
			binary.BigEndian.Uint16(v.Inner[h.Off+2:]) != port {
			continue
		}
		const syn, ack = 2, 16
		if v.Inner[h.Off+13] != syn|ack {
			t.Errorf("flags %#x, want SYN and ACK", v.Inner[h.Off+13])
		}
		if err := ipsec.VerifyTCP(v.Inner, h.Off, ipsec.NewKey([]byte("secret"))); err != nil {
			t.Error(err)
		}
		return true
	}
}

// listenSigned has a program listen that wants the segments of a peer signed; false if the kernel cannot do that.
func listenSigned(t *testing.T, at, peer netip.Addr, key string) bool {
	t.Helper()
	var missing bool
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		c.Control(func(fd uintptr) {
			md5 := struct {
				addr          [128]byte // struct sockaddr_storage
				flags, prefix uint8
				length        uint16
				device        int32
				key           [80]byte
			}{length: uint16(len(key))}
			copy(md5.key[:], key)
			if peer.Is4() {
				binary.NativeEndian.PutUint16(md5.addr[:], unix.AF_INET)
				copy(md5.addr[4:], peer.AsSlice())
			} else {
				binary.NativeEndian.PutUint16(md5.addr[:], unix.AF_INET6)
				copy(md5.addr[8:], peer.AsSlice())
			}
			b := unsafe.Slice((*byte)(unsafe.Pointer(&md5)), unsafe.Sizeof(md5))
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_MD5SIG, string(b))
		})
		missing = errors.Is(err, unix.ENOPROTOOPT)
		return err
	}}
	l, err := lc.Listen(t.Context(), "tcp", netip.AddrPortFrom(at, bgp).String())
	if missing {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return true
}

// netstat is a counter of the real kernel's TCP.
func netstat(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/net/netstat")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j, n := range names {
			if n == name && j < len(values) {
				return values[j]
			}
		}
	}
	return ""
}

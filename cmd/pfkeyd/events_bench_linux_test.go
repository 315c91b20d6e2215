package main_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/inturns"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// watchedEngine is an engine with its ports, in a process of its own, and who reads its events.
type watchedEngine struct {
	processes []int
	keys      *pfkey.Client
	packets   *packetport.Client
}

var benchSA = pfkey.SA{SAID: pfkey.SAID{Type: wire.SATypeESP, SPI: 0x1000,
	Src: pfkey.Host(netip.MustParseAddr("192.0.2.2")), Dst: pfkey.Host(netip.MustParseAddr("192.0.2.1"))},
	Encrypt: wire.EncAESGCM16, EncryptKey: pfkey.NewKey([]byte("sixteen key byteand4"))}

// watchEngine starts an engine, with nobody who reads its events, "pfkeyd watch" with its options, or a reader that
// does not read.
func watchEngine(b *testing.B, reader string, options ...string) *watchedEngine {
	dir, err := os.MkdirTemp("", "p") // the name leaves room for that of a socket
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	e := &watchedEngine{}
	serve := pfkeyd(b, "serve", "--addr", "192.0.2.1", "--socket", path)
	says, err := serve.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	e.start(b, "pfkeyd: illumos is ready", says, serve)
	address := "illumos:" + path
	switch reader {
	case "watch":
		watch := pfkeyd(b, append([]string{"watch", "--engine", address, "--from", "now"}, options...)...)
		if says, err = watch.StderrPipe(); err != nil {
			b.Fatal(err)
		}
		e.start(b, "watching", says, watch)
	case "stalled":
		c, err := net.Dial("unix", path+".control")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		fmt.Fprint(c, "GET /events HTTP/1.1\r\nHost: engine\r\n\r\n")
		if _, err := bufio.NewReader(io.LimitReader(c, 1)).ReadByte(); err != nil {
			b.Fatal(err)
		}
	}
	if e.keys, err = pfkey.Dial(b.Context(), address); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.keys.Close() })
	if err := e.keys.Add(b.Context(), benchSA, 0); err != nil {
		b.Fatal(err)
	}
	if e.packets, err = packetport.Dial(b.Context(), packetport.Path(path)); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.packets.Close() })
	return e
}

// start starts a process and waits until it says that it is ready.
func (e *watchedEngine) start(b *testing.B, ready string, says io.Reader, cmd *exec.Cmd) {
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(says).ReadString('\n')
	if err != nil || len(line) < len(ready) || line[:len(ready)] != ready {
		b.Fatalf("%v: %q, %v", cmd.Args, line, err)
	}
	e.processes = append(e.processes, cmd.Process.Pid)
}

// processor is the processor time that the processes have had.
func (e *watchedEngine) processor() (sum time.Duration) {
	for _, pid := range e.processes {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, name := range threads {
			text, _ := os.ReadFile(name)
			var ns int64
			if _, err := fmt.Sscan(string(text), &ns); err == nil {
				sum += time.Duration(ns)
			}
		}
	}
	return sum
}

// BenchmarkWatched is what those who read events cost an engine behind its ports, in processes of their own: a round
// trip on a PF_KEY socket, and packets as fast as they go. The stalled one asks for events and does not read them.
func BenchmarkWatched(b *testing.B) {
	local, err := kernel.New("illumos", kernel.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer local.Close()
	src, dst := netip.AddrPortFrom(benchSA.Src.Addr, 40000), netip.AddrPortFrom(benchSA.Dst.Addr, 9)
	inner, err := ip.UDP(src, dst, make([]byte, 56))
	if err != nil {
		b.Fatal(err)
	}
	pkt, err := local.Seal(&benchSA, inner, 1, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	const many = 100
	kinds := map[string]func(e *watchedEngine) error{
		"request": func(e *watchedEngine) error {
			for range many {
				if err := e.keys.Flush(ctx, wire.SATypeAH); err != nil {
					return err
				}
			}
			return nil
		},
		"packet": func(e *watchedEngine) error {
			for range many {
				if _, err := e.packets.Inject(ctx, pkt, packetport.Inbound, ""); err != nil {
					return err
				}
			}
			for range many {
				if v, err := e.packets.Recv(ctx); err != nil || v.Kind != packet.Delivered {
					return fmt.Errorf("%v: %w", v.Kind, err)
				}
			}
			return nil
		},
	}
	for kind, do := range kinds {
		b.Run(kind, func(b *testing.B) {
			var ways []inturns.Way
			for _, way := range [][]string{{"none"}, {"watch"}, {"watch", "--json"}, {"stalled"}} {
				e := watchEngine(b, way[0], way[1:]...)
				ways = append(ways, inturns.Way{Name: strings.Join(way, ""), Others: e.processor, Do: func() {
					if err := do(e); err != nil {
						b.Error(err)
					}
				}})
			}
			inturns.Compare(b, 500*time.Millisecond, ways...)
		})
	}
}

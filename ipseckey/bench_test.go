package ipseckey_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/ipseckey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// benchSA is an SA as DUMP answers it.
func benchSA() []byte {
	b := little.AppendSA(nil, wire.SA{SPI: 0x1a2b3c4d, State: wire.StateMature, Auth: 5, Encrypt: 12,
		Flags: 0x80008000})
	for _, t := range []wire.ExtType{wire.ExtLifetimeSoft, wire.ExtLifetimeHard, wire.ExtLifetimeCurrent} {
		b = little.AppendLifetime(b, t, wire.Lifetime{Bytes: 1 << 20, AddTime: 28800})
	}
	b = little.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: mustAddr("192.0.2.10")})
	b = little.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: mustAddr("198.51.100.20")})
	b = little.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: 256, Data: make([]byte, 32)})
	return little.AppendKey(b, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: make([]byte, 16)})
}

func benchRun(b *testing.B, stdin string, answer func(wire.Header, []byte) [][]byte, args ...string) {
	b.ReportAllocs()
	for b.Loop() {
		p := &ipseckey.Program{
			Stdin: strings.NewReader(stdin), Stdout: io.Discard, Stderr: io.Discard, PID: goldenPID,
			Now: func() time.Time { return time.Unix(goldenNow, 0) },
			Dial: func(context.Context, string) (ipseckey.Conn, *wire.Dialect, error) {
				return &answerer{d: little, answer: answer}, little, nil
			},
		}
		if code := p.Run(b.Context(), args); code != 0 {
			b.Fatal(code)
		}
	}
}

// BenchmarkDump lists 1000 SAs.
func BenchmarkDump(b *testing.B) {
	sa := benchSA()
	answer := func(h wire.Header, msg []byte) [][]byte {
		m := little.Finish(append(little.AppendHeader(nil, h), sa...))
		var all [][]byte
		for range 1000 {
			all = append(all, m)
		}
		return append(all, agree(h, msg)...)
	}
	for name, args := range map[string][]string{"text": {"-n", "dump"}, "json": {"--json", "dump"},
		"save": {"-s", "-"}} {
		b.Run(name, func(b *testing.B) { benchRun(b, "", answer, args...) })
	}
}

// BenchmarkAdd makes 1000 SAs.
func BenchmarkAdd(b *testing.B) {
	benchRun(b, strings.Repeat("add esp spi 0x1000"+addTail+"\n", 1000), agree, "-n")
}

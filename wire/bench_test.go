package wire_test

import (
	"io"
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

// BenchmarkWalkADD visits an ADD with two keys and reads what a kernel needs of it.
func BenchmarkWalkADD(b *testing.B) {
	d := wire.Illumos()
	msg, _ := withKeys(d, 0)
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		for x, err := range d.Walk(msg) {
			if err != nil {
				b.Fatal(err)
			}
			switch x.Type {
			case wire.ExtSA:
				_, err = d.ParseSA(x.Raw)
			case wire.ExtAddressSrc, wire.ExtAddressDst:
				_, err = d.ParseAddress(x.Raw)
			case wire.ExtKeyAuth, wire.ExtKeyEncrypt:
				_, err = d.ParseKey(x.Raw)
			case wire.ExtLifetimeHard:
				_, err = d.ParseLifetime(x.Raw)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkBuildADD writes an ADD into a buffer that is there.
func BenchmarkBuildADD(b *testing.B) {
	d := wire.Illumos()
	src, dst := addr("192.0.2.1"), addr("2001:db8::2")
	auth, encrypt := make([]byte, 20), make([]byte, 16)
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		m := d.AppendHeader(buf[:0], wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP, Seq: 1, PID: 1})
		m = d.AppendSA(m, wire.SA{SPI: 0x1000, Replay: 32, State: wire.StateMature, Auth: 3, Encrypt: 12})
		m = d.AppendAddress(m, wire.ExtAddressSrc, wire.Address{Addr: src})
		m = d.AppendAddress(m, wire.ExtAddressDst, wire.Address{Addr: dst})
		m = d.AppendKey(m, wire.ExtKeyAuth, wire.Key{Bits: 160, Data: auth})
		m = d.AppendKey(m, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: encrypt})
		m = d.AppendLifetime(m, wire.ExtLifetimeHard, wire.Lifetime{AddTime: 28800})
		m = d.Finish(m)
		b.SetBytes(int64(len(m)))
	}
}

func BenchmarkValidate(b *testing.B) {
	s := sampleNamed(b, "linux-add")
	b.ReportAllocs()
	for b.Loop() {
		if err := s.d.Validate(s.msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLine(b *testing.B) {
	s := sampleNamed(b, "linux-add")
	b.ReportAllocs()
	for b.Loop() {
		s.d.Line(s.msg)
	}
}

func BenchmarkFormat(b *testing.B) {
	s := sampleNamed(b, "linux-add")
	b.ReportAllocs()
	for b.Loop() {
		s.d.Format(io.Discard, s.msg, wire.FormatOptions{})
	}
}

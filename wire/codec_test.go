package wire_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

// A codec is the pair of Parse and Append of one extension type.
type codec struct {
	parse  func(d *wire.Dialect, raw []byte) (any, error)
	append func(d *wire.Dialect, b []byte, v any) []byte
}

func plain[T any](parse func(*wire.Dialect, []byte) (T, error), app func(*wire.Dialect, []byte, T) []byte) codec {
	return codec{
		func(d *wire.Dialect, raw []byte) (any, error) { return parse(d, raw) },
		func(d *wire.Dialect, b []byte, v any) []byte { return app(d, b, v.(T)) },
	}
}

// typed is for extensions that several types share.
func typed[T any](t wire.ExtType, parse func(*wire.Dialect, []byte) (T, error), app func(*wire.Dialect, []byte,
	wire.ExtType, T) []byte) codec {
	return plain(parse, func(d *wire.Dialect, b []byte, v T) []byte { return app(d, b, t, v) })
}

type dialect = wire.Dialect

// codecOf finds the codec of an extension type.
func codecOf(d *dialect, t wire.ExtType) (codec, bool) {
	address := typed(t, (*dialect).ParseAddress, (*dialect).AppendAddress)
	lifetime := typed(t, (*dialect).ParseLifetime, (*dialect).AppendLifetime)
	key := typed(t, (*dialect).ParseKey, (*dialect).AppendKey)
	sens := typed(t, (*dialect).ParseSensitivity, (*dialect).AppendSensitivity)
	switch t {
	case wire.ExtSA:
		return plain((*dialect).ParseSA, (*dialect).AppendSA), true
	case wire.ExtLifetimeCurrent, wire.ExtLifetimeHard, wire.ExtLifetimeSoft:
		return lifetime, true
	case wire.ExtAddressSrc, wire.ExtAddressDst, wire.ExtAddressProxy:
		return address, true
	case wire.ExtKeyAuth, wire.ExtKeyEncrypt:
		return key, true
	case wire.ExtIdentitySrc, wire.ExtIdentityDst:
		return typed(t, (*dialect).ParseIdentity, (*dialect).AppendIdentity), true
	case wire.ExtSensitivity:
		return sens, true
	case wire.ExtProposal:
		return plain((*dialect).ParseProposal, (*dialect).AppendProposal), true
	case wire.ExtSupportedAuth, wire.ExtSupportedEncrypt:
		return typed(t, (*dialect).ParseSupported, (*dialect).AppendSupported), true
	case wire.ExtSPIRange:
		return plain((*dialect).ParseSPIRange, (*dialect).AppendSPIRange), true
	}
	if d.Name == "illumos" {
		switch t {
		case wire.IllumosExtXEReg:
			return plain((*dialect).ParseEReg, (*dialect).AppendEReg), true
		case wire.IllumosExtXEProp:
			return plain((*dialect).ParseEProp, (*dialect).AppendEProp), true
		case wire.IllumosExtXKMCookie:
			return plain((*dialect).ParseKMCookie, (*dialect).AppendKMCookie), true
		case wire.IllumosExtXAddressNattLoc, wire.IllumosExtXAddressNattRem, wire.IllumosExtXAddressInnerDst:
			return address, true
		case wire.IllumosExtXPair:
			return plain((*dialect).ParsePair, (*dialect).AppendPair), true
		case wire.IllumosExtXReplayValue:
			return plain((*dialect).ParseReplayValue, (*dialect).AppendReplayValue), true
		case wire.IllumosExtXEDump:
			return plain((*dialect).ParseEDump, (*dialect).AppendEDump), true
		case wire.IllumosExtXLifetimeIdle:
			return lifetime, true
		case wire.IllumosExtXOuterSens:
			return sens, true
		case wire.IllumosExtXStrAuth:
			return key, true
		}
		return codec{}, false
	}
	if d.Name == "openbsd" {
		switch t {
		case wire.OpenBSDExtXSrcMask, wire.OpenBSDExtXDstMask, wire.OpenBSDExtXSrcFlow, wire.OpenBSDExtXDstFlow,
			wire.OpenBSDExtXDst2:
			return address, true
		case wire.OpenBSDExtXProtocol, wire.OpenBSDExtXFlowType, wire.OpenBSDExtXSAType2:
			return typed(t, (*dialect).ParseFlowProtocol, (*dialect).AppendFlowProtocol), true
		case wire.OpenBSDExtXSA2:
			return plain((*dialect).ParseSA, (*dialect).AppendSecondSA), true
		case wire.OpenBSDExtXPolicy, wire.OpenBSDExtXTap, wire.OpenBSDExtXMTU:
			return typed(t, (*dialect).ParseWord, (*dialect).AppendWord), true
		case wire.OpenBSDExtXSupportedComp:
			return typed(t, (*dialect).ParseSupported, (*dialect).AppendSupported), true
		case wire.OpenBSDExtXUDPEncap:
			return typed(t, (*dialect).ParseNATTPort, (*dialect).AppendNATTPort), true
		case wire.OpenBSDExtXLifetimeLastUse:
			return lifetime, true
		case wire.OpenBSDExtXTag:
			return plain((*dialect).ParseTag, (*dialect).AppendTag), true
		case wire.OpenBSDExtXCounter:
			return plain((*dialect).ParseCounter, (*dialect).AppendCounter), true
		case wire.OpenBSDExtXRDomain:
			return plain((*dialect).ParseRDomain, (*dialect).AppendRDomain), true
		case wire.IllumosExtXReplayValue:
			return plain((*dialect).ParseReplayValue, (*dialect).AppendReplayValue), true
		case wire.OpenBSDExtXIface:
			return plain((*dialect).ParseIface, (*dialect).AppendIface), true
		}
		return codec{}, false
	}
	switch t {
	case wire.KAMEExtXPolicy:
		return plain((*dialect).ParsePolicy, (*dialect).AppendPolicy), true
	case wire.KAMEExtXSA2:
		return plain((*dialect).ParseSA2, (*dialect).AppendSA2), true
	case wire.KAMEExtXNATTType:
		return plain((*dialect).ParseNATTType, (*dialect).AppendNATTType), true
	case wire.KAMEExtXNATTSPort, wire.KAMEExtXNATTDPort:
		return typed(t, (*dialect).ParseNATTPort, (*dialect).AppendNATTPort), true
	case wire.KAMEExtXNATTOA, wire.KAMEExtXNATTOAR, wire.FreeBSDExtXNewAddressSrc, wire.FreeBSDExtXNewAddressDst:
		return address, true
	case wire.KAMEExtXNATTFrag:
		return plain((*dialect).ParseNATTFrag, (*dialect).AppendNATTFrag), true
	case wire.FreeBSDExtXSAReplay:
		return plain((*dialect).ParseSAReplay, (*dialect).AppendSAReplay), true
	case wire.LinuxExtXSecCtx:
		return plain((*dialect).ParseSecCtx, (*dialect).AppendSecCtx), true
	case wire.LinuxExtXKMAddress:
		return plain((*dialect).ParseKMAddress, (*dialect).AppendKMAddress), true
	case wire.LinuxExtXFilter:
		return plain((*dialect).ParseFilter, (*dialect).AppendFilter), true
	}
	return codec{}, false
}

// little are the dialects in the byte order of the recordings, variants all dialects in both orders.
func little() []*dialect {
	var all []*dialect
	for _, d := range wire.Dialects() {
		all = append(all, d.WithOrder(binary.LittleEndian))
	}
	return all
}

func variants() []*dialect {
	var all []*dialect
	for _, d := range wire.Dialects() {
		all = append(all, d.WithOrder(binary.LittleEndian), d.WithOrder(binary.BigEndian))
	}
	return all
}

// swap translates a message from one byte order to another, as well as its extensions can be read.
func swap(from, to *dialect, msg []byte) []byte {
	h, err := from.Header(msg)
	if err != nil {
		return msg
	}
	out := to.AppendHeader(nil, h)
	for x, err := range from.Walk(msg) {
		if len(x.Raw) < 4 {
			return append(out, msg[x.Offset:]...)
		}
		start := len(out)
		out = append(out, x.Raw...)
		if err != nil { // keep the length that is wrong
			n := int(from.Order.Uint16(x.Raw)) * 8
			to.PutExtHeader(out[start:], x.Type, n)
			return out
		}
		to.PutExtHeader(out[start:], x.Type, len(x.Raw))
		if c, ok := codecOf(from, x.Type); ok {
			if v, err := c.parse(from, x.Raw); err == nil {
				clear(out[start+4:])
				copy(out[start:], c.append(to, nil, v))
				to.PutExtHeader(out[start:], x.Type, len(x.Raw))
			}
		}
	}
	return out
}

// unhex decodes hexadecimal with blanks and newlines in it; lines that begin with # are comments.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(s) {
		if !strings.HasPrefix(line, "#") {
			for f := range strings.FieldsSeq(line) {
				digits.WriteString(f)
			}
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sample is one recorded message.
type sample struct {
	d    *dialect // in the recording's byte order
	name string
	msg  []byte
}

// samples are the chosen messages of testdata/messages.
func samples(t testing.TB) []sample {
	t.Helper()
	paths, err := filepath.Glob("testdata/messages/*.hex")
	if err != nil || len(paths) == 0 {
		t.Fatal("no messages", err)
	}
	var all []sample
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".hex")
		dname, _, _ := strings.Cut(name, "-")
		d, ok := wire.ByName(dname)
		if !ok {
			t.Fatalf("%s: no dialect of that name", path)
		}
		all = append(all, sample{d.WithOrder(binary.LittleEndian), name, unhex(t, string(b))})
	}
	return all
}

func sampleNamed(t testing.TB, name string) sample {
	t.Helper()
	for _, s := range samples(t) {
		if s.name == name {
			return s
		}
	}
	t.Fatalf("no message %s", name)
	return sample{}
}

// recorded is a message of testdata/DIALECT.messages.
type recorded struct {
	sample
	answer  bool   // the kernel made it
	strange string // offsets of extensions that are not as we would write them
}

func recordings(t testing.TB, d *dialect) []recorded {
	t.Helper()
	f, err := os.Open("testdata/" + d.Name + ".messages")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []recorded
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if line := sc.Text(); !strings.HasPrefix(line, "#") {
			p := append(strings.Fields(line), "")
			all = append(all, recorded{sample{d, p[0] + " " + p[1] + " " + p[2], unhex(t, p[3])}, p[2] == "rx", p[4]})
		}
	}
	return all
}

// equalGolden compares with a golden file, or writes it under -update.
func equalGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s (-want +got):\n%s", path, diffLines(string(want), string(got)))
	}
}

package wire_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

func TestNames(t *testing.T) {
	i, l := wire.Illumos(), wire.Linux()
	for _, tt := range []struct{ got, want string }{
		{i.MsgName(wire.MsgGetSPI), "GETSPI"},
		{i.MsgName(wire.IllumosMsgXInverseAcquire), "X_INVERSE_ACQUIRE"},
		{i.MsgName(i.MsgType(16)), "unknown(0x10)"},
		{l.MsgName(wire.LinuxMsgXMigrate), "X_MIGRATE"},
		{l.MsgName(l.MsgType(25)), "unknown(0x19)"},
		{i.ExtName(wire.ExtAddressProxy), "X_ADDRESS_INNER_SRC"},
		{l.ExtName(wire.ExtAddressProxy), "ADDRESS_PROXY"},
		{i.ExtName(wire.IllumosExtXEProp), "X_EPROP"},
		{l.ExtName(wire.KAMEExtXPolicy), "X_POLICY"},
		{l.ExtName(0), "unknown(0x0)"},
		{l.ExtName(l.ExtType(0xffff)), "unknown(0xffff)"},
		{i.SATypeName(wire.SATypeTCPSig), "tcpsig"},
		{l.SATypeName(wire.SATypeIPComp), "ipcomp"},
		{l.SATypeName(l.SAType(4)), "unknown(0x4)"},
		{i.StateName(wire.IllumosStateXIdle), "idle"},
		{l.StateName(5), "unknown(0x5)"},
		{i.AuthName(wire.AuthSHA256HMAC), "hmac-sha256"},
		{l.AuthName(wire.AuthNull), "null"},
		{l.AuthName(l.Auth(99)), "unknown(0x63)"},
		{i.EncryptName(wire.EncAESGCM16), "aes-gcm16"},
		{l.EncryptName(wire.EncCamelliaCBC), "camellia-cbc"},
		{i.EncryptName(i.Encrypt(22)), "unknown(0x16)"},
		{i.FlagNames(0), "0"},
		{i.FlagNames(wire.IllumosFlagXInbound | wire.IllumosFlagXUsed), "X_INBOUND|X_USED"},
		{l.FlagNames(wire.LinuxFlagNoECN | 0x30), "NOECN|0x30"},
		{l.FlagNames(4), "0x4"},
		{i.DiagnosticName(uint16(wire.IllumosDiagBadExtLen)), "BAD_EXTLEN"},
		{i.DiagnosticName(0), "NONE"},
		{i.DiagnosticName(1000), "unknown(0x3e8)"},
		{l.DiagnosticName(0), "NONE"},
		{l.DiagnosticName(3), "unknown(0x3)"},
		{i.IdentName(wire.IllumosIdentXDN), "dn"},
		{l.IdentName(77), "unknown(0x4d)"},
		{i.ErrnoName(122), "EOPNOTSUPP"},
		{l.ErrnoName(95), "EOPNOTSUPP"},
		{l.ErrnoName(0), "OK"},
		{l.ErrnoName(250), "unknown(0xfa)"},
		{wire.MsgXPromisc.String(), "X_PROMISC"},
		{wire.KAMEMsgXSPDAdd.String(), "X_SPDADD"},
		{i.MsgType(16).String(), "unknown(0x10)"},
		{wire.ExtSPIRange.String(), "SPIRANGE"},
		{wire.KAMEExtXKMPrivate.String(), "X_KMPRIVATE"},
		{i.ExtType(29).String(), "unknown(0x1d)"},
		{wire.SATypeESP.String(), "esp"},
		{wire.SATypeIPComp.String(), "ipcomp"},
		{i.SAType(9).String(), "unknown(0x9)"},
		{wire.StateDying.String(), "dying"},
		{wire.State(9).String(), "unknown(0x9)"},
		{wire.SPI(0x1000).String(), "0x1000"},
		{wire.IllumosDiagWeakEKey.String(), "WEAK_EKEY"},
		{wire.IllumosDiagnostic(500).String(), "unknown(0x1f4)"},
		{wire.EINVAL.String(), "EINVAL"},
		{wire.OK.String(), "OK"},
		{wire.Errno(255).String(), "unknown(0xff)"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

// Whatever has a name is found by it, in either case; nothing is found by the name of the unknown.
func TestByName(t *testing.T) {
	for _, d := range wire.Dialects() {
		for n := range 256 {
			check := func(kind, name string, got int, ok bool) {
				t.Helper()
				if unknown := strings.HasPrefix(name, "unknown("); unknown == ok || ok && got != n {
					t.Errorf("%s: %s %d is %s, which is %d, %v", d.Name, kind, n, name, got, ok)
				}
			}
			name := d.MsgName(d.MsgType(uint8(n)))
			m, ok := d.MsgByName(strings.ToLower(name))
			number, _ := d.MsgNumber(m)
			check("message", name, int(number), ok)
			name = d.ExtName(d.ExtType(uint16(n)))
			x, ok := d.ExtByName(strings.ToLower(name))
			long, _ := d.ExtNumber(x)
			check("extension", name, int(long), ok)
			name = d.SATypeName(d.SAType(uint8(n)))
			s, ok := d.SATypeByName(strings.ToUpper(name))
			number, _ = d.SATypeNumber(s)
			check("SA type", name, int(number), ok)
			name = d.AuthName(d.Auth(uint8(n)))
			a, ok := d.AuthByName(name)
			number, _ = d.AuthNumber(a)
			check("auth", name, int(number), ok)
			name = d.EncryptName(d.Encrypt(uint8(n)))
			e, ok := d.EncryptByName(name)
			number, _ = d.EncryptNumber(e)
			check("encrypt", name, int(number), ok)
		}
		if x, ok := d.ExtByName("ADDRESS_PROXY"); x != wire.ExtAddressProxy || !ok {
			t.Errorf("%s: ADDRESS_PROXY is %d, %v", d.Name, x, ok)
		}
		if got, ok := wire.ByName(d.Name); !ok || got != d {
			t.Errorf("ByName(%q) = %v, %v", d.Name, got, ok)
		}
	}
	if _, ok := wire.ByName("plan9"); ok {
		t.Error("plan9 has a dialect")
	}
	for e := wire.OK; e.String() != "unknown(0xff)"; e++ {
		if got, ok := wire.ErrnoByName(e.String()); strings.HasPrefix(e.String(), "E") && (got != e || !ok) {
			t.Errorf("%v by name is %v, %v", e, got, ok)
		}
		if e == 255 {
			break
		}
	}
	if _, ok := wire.ErrnoByName("ENOSUCH"); ok {
		t.Error("ENOSUCH is known")
	}
}

func TestErrno(t *testing.T) {
	// Those that PF_KEY kernels answer.
	for _, tt := range []struct {
		e                   wire.Errno
		linux, illumos, bsd uint8
	}{
		{wire.OK, 0, 0, 0}, {wire.EPERM, 1, 1, 1}, {wire.ENOENT, 2, 2, 2}, {wire.ESRCH, 3, 3, 3},
		{wire.ENOMEM, 12, 12, 12}, {wire.EACCES, 13, 13, 13}, {wire.EBUSY, 16, 16, 16}, {wire.EEXIST, 17, 17, 17},
		{wire.EINVAL, 22, 22, 22}, {wire.EPIPE, 32, 32, 32}, {wire.EAGAIN, 11, 11, 35}, {wire.EMSGSIZE, 90, 97, 40},
		{wire.EPROTOTYPE, 91, 98, 41}, {wire.EOPNOTSUPP, 95, 122, 45}, {wire.EPFNOSUPPORT, 96, 123, 46},
		{wire.ENOBUFS, 105, 132, 55}, {wire.EPROTONOSUPPORT, 93, 120, 43}, {wire.EAFNOSUPPORT, 97, 124, 47},
		{wire.ENOSYS, 38, 89, 78}, {wire.ELOOP, 40, 90, 62}, {wire.EISCONN, 106, 133, 56},
		{wire.ENOTCONN, 107, 134, 57}, {wire.EHOSTUNREACH, 113, 148, 65},
	} {
		for _, d := range wire.Dialects() {
			want := map[string]uint8{"linux": tt.linux, "illumos": tt.illumos}[d.Name]
			if d.SockaddrLen {
				want = tt.bsd
			}
			if got := d.ErrnoNumber(tt.e); got != want {
				t.Errorf("%s: %v is %d, want %d", d.Name, tt.e, got, want)
			}
			if got, ok := d.Errno(want); got != tt.e || !ok {
				t.Errorf("%s: %d is %v, %v, want %v", d.Name, want, got, ok, tt.e)
			}
		}
	}
	for _, tt := range []struct { // what the BSDs number each for itself, or have not
		e               wire.Errno
		netbsd, freebsd uint8
	}{{wire.ENOTSUP, 86, 45}, {wire.ECANCELED, 87, 85}, {wire.ENODATA, 89, 22}, {wire.EPROTO, 96, 92}} {
		n, f := wire.NetBSD().ErrnoNumber(tt.e), wire.FreeBSD().ErrnoNumber(tt.e)
		if n != tt.netbsd || f != tt.freebsd {
			t.Errorf("%v is %d on NetBSD and %d on FreeBSD, want %d and %d", tt.e, n, f, tt.netbsd, tt.freebsd)
		}
	}
	for _, d := range wire.Dialects() {
		for n := range 256 {
			if e, ok := d.Errno(uint8(n)); ok && d.ErrnoNumber(e) != uint8(n) {
				t.Errorf("%s: %d is %v, which is %d", d.Name, n, e, d.ErrnoNumber(e))
			}
		}
		if got := d.ErrnoNumber(200); got != 22 {
			t.Errorf("%s: what is no errno becomes %d", d.Name, got)
		}
	}
}

func TestWithOrder(t *testing.T) {
	d := wire.Illumos()
	if d.Order != binary.NativeEndian {
		t.Errorf("the dialect's order is %v", d.Order)
	}
	one := d.AppendLifetime(nil, wire.ExtLifetimeHard, wire.Lifetime{Bytes: 1})
	if got := binary.NativeEndian.Uint64(one[8:]); got != 1 {
		t.Errorf("not in native order: % x", one)
	}
	big := d.WithOrder(binary.BigEndian)
	if d.Order != binary.NativeEndian || big.Order != binary.BigEndian || big.Name != d.Name {
		t.Error("WithOrder is not a copy with another order")
	}
	for _, o := range []interface {
		binary.ByteOrder
	}{binary.BigEndian, binary.LittleEndian, binary.NativeEndian} {
		d := d.WithOrder(o)
		b := d.AppendHeader(nil, wire.Header{PID: 0x01020304})
		if got := o.Uint32(b[12:]); got != 0x01020304 {
			t.Errorf("%v: %#x", o, got)
		}
	}
}

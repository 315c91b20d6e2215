package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// testKernel is a dialect as far from the others as OpenBSD's: SA types and algorithms have other numbers, and so have
// extensions, at some of which others have something else.
var testKernel = newDialect(Dialect{Name: "test", AFInet: 2, AFInet6: 24, SockaddrLen: true}, tables{
	msgs: numbered(allMsgRows, msgRows(rfcMsgs)...),
	satypes: numbered(allSATypes, []row[SAType]{{SATypeUnspec, 0, "unspec"}, {SATypeAH, 1, "ah"}, {SATypeESP, 2, "esp"},
		{SATypeRSVP, 3, "rsvp"}, {SATypeOSPFv2, 4, "ospfv2"}, {SATypeRIPv2, 5, "ripv2"}, {SATypeMIP, 6, "mip"},
		{SATypeTCPSig, 8, "tcpsig"}, {SATypeIPComp, 9, "ipcomp"}}),
	auths: numbered(allAuths, []row[AlgID]{{AuthNone, 0, "none"}, {AuthSHA1HMAC, 2, "hmac-sha1"},
		{AuthNull, 5, "null"}}),
	encrypts: numbered(allEncrypts, []row[AlgID]{{EncNone, 0, "none"}, {Enc3DESCBC, 2, "3des-cbc"},
		{EncNull, 3, "null"}}),
	modes:  numbered(allModes),
	states: rfcStates,
	exts: append(append([]extRow(nil), rfcExts...),
		extRow{typ: KAMEExtXNATTSPort, number: 31, name: "X_UDPENCAP", short: "udpencap", shape: shapeNATTPort},
		extRow{typ: IllumosExtXReplayValue, number: 39, name: "X_REPLAY", shape: shapeReplayValue},
		extRow{typ: KAMEExtXNATTOA, number: 24, name: "X_DST2", shape: shapeAddress}, // 24 is X_SEC_CTX, X_REPLAY_VALUE
	),
	errnos:      newErrnoTable(func(e Errno) uint8 { return errnos[e].linux }),
	sockaddrIn6: 28,
})

// appendings write each extension that any dialect has.
func appendings(d *Dialect, t ExtType) []byte {
	switch role := roleAnywhere(t); {
	case t == OpenBSDExtXSA2:
		return d.AppendSecondSA(nil, SA{})
	case t == IllumosExtXEProp:
		return d.AppendEProp(nil, EProp{})
	case role == RoleSA:
		return d.AppendSA(nil, SA{})
	case role == RoleLifetime:
		return d.AppendLifetime(nil, t, Lifetime{})
	case role == RoleAddress:
		return d.AppendAddress(nil, t, Address{})
	case role == RoleKey:
		return d.AppendKey(nil, t, Key{Bits: 8, Data: []byte{1}})
	case role == RoleIdentity:
		return d.AppendIdentity(nil, t, Identity{Name: "name"})
	case role == RoleSensitivity:
		return d.AppendSensitivity(nil, t, Sensitivity{})
	case role == RoleProposal:
		return d.AppendProposal(nil, Proposal{Combs: make([]Comb, 1)})
	case role == RoleSupported:
		return d.AppendSupported(nil, t, Supported{Algs: make([]Alg, 1)})
	case role == RoleSPIRange:
		return d.AppendSPIRange(nil, SPIRange{})
	case role == RolePolicy:
		return d.AppendPolicy(nil, Policy{Requests: make([]IPsecRequest, 2)})
	}
	switch t {
	case KAMEExtXKMPrivate, OpenBSDExtXLocalCredentials, OpenBSDExtXRemoteCredentials, OpenBSDExtXLocalAuth,
		OpenBSDExtXRemoteAuth:
		return append(d.AppendExtHeader(nil, t, 8), 0, 0, 0, 0)
	case KAMEExtXSA2:
		return d.AppendSA2(nil, SA2{})
	case KAMEExtXNATTType:
		return d.AppendNATTType(nil, NATTType{})
	case KAMEExtXNATTSPort, KAMEExtXNATTDPort, OpenBSDExtXUDPEncap:
		return d.AppendNATTPort(nil, t, NATTPort{})
	case KAMEExtXNATTFrag:
		return d.AppendNATTFrag(nil, NATTFrag{})
	case FreeBSDExtXSAReplay:
		return d.AppendSAReplay(nil, SAReplay{})
	case OpenBSDExtXProtocol, OpenBSDExtXFlowType, OpenBSDExtXSAType2:
		return d.AppendFlowProtocol(nil, t, FlowProtocol{})
	case OpenBSDExtXPolicy, OpenBSDExtXTap, OpenBSDExtXMTU:
		return d.AppendWord(nil, t, Word{})
	case OpenBSDExtXTag:
		return d.AppendTag(nil, Tag{Name: "tag"})
	case OpenBSDExtXCounter:
		return d.AppendCounter(nil, Counter{})
	case OpenBSDExtXRDomain:
		return d.AppendRDomain(nil, RDomain{})
	case OpenBSDExtXIface:
		return d.AppendIface(nil, Iface{})
	case LinuxExtXSecCtx:
		return d.AppendSecCtx(nil, SecCtx{Context: []byte("context")})
	case LinuxExtXKMAddress:
		return d.AppendKMAddress(nil, KMAddress{})
	case LinuxExtXFilter:
		return d.AppendFilter(nil, Filter{})
	case IllumosExtXEReg:
		return d.AppendEReg(nil, EReg{})
	case IllumosExtXKMCookie:
		return d.AppendKMCookie(nil, KMCookie{})
	case IllumosExtXPair:
		return d.AppendPair(nil, Pair{})
	case IllumosExtXReplayValue:
		return d.AppendReplayValue(nil, ReplayValue{})
	case IllumosExtXEDump:
		return d.AppendEDump(nil, EDump{})
	}
	return nil
}

func roleAnywhere(t ExtType) Role {
	for _, d := range append(Dialects(), testKernel) {
		if r := d.Role(t); r != RoleUnknown {
			return r
		}
	}
	return RoleUnknown
}

// Each dialect appends each extension of each other one: its own number goes out, or Lacks says that it has none and no
// kernel takes the message, whatever comes behind.
func TestForeignExtensions(t *testing.T) {
	for _, d := range append(Dialects(), testKernel) {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			d := d.WithOrder(order)
			for x := ExtType(1); x < extTypes; x++ {
				ext := appendings(d, x)
				if ext == nil {
					t.Fatalf("nothing writes %v", x)
				}
				msg := append(d.AppendHeader(nil, Header{Version: Version, Type: MsgAdd}), ext...)
				msg = d.Finish(d.AppendLifetime(msg, ExtLifetimeHard, Lifetime{}))
				err := d.Lacks(msg)
				own, has := d.ExtNumber(x)
				if r := d.ext(x); (r != nil) != has || r != nil && r.number != own {
					t.Errorf("%s: %v has number %d, %v", d.Name, x, own, has)
				}
				if number := order.Uint16(ext[2:]); has {
					if got, ok := d.Find(msg, x); err != nil || number != own || !ok || !bytes.Equal(got.Raw, ext) {
						t.Errorf("%s: %v is written as %d, want %d (%v)", d.Name, x, number, own, err)
					}
					continue
				}
				var lack *LackError
				if !errors.As(err, &lack) || lack.Ext != x || lack.Dialect != d.Name {
					t.Errorf("%s: %v is not missed: %v", d.Name, x, err)
				}
				if err := d.Validate(msg); !errors.Is(err, ErrLength) {
					t.Errorf("%s: a message with %v, which it does not have, is fine (%v)", d.Name, x, err)
				}
			}
		}
	}
}

// A symbol that a dialect does not have is written as a number that no kernel knows, and every number that is read is
// written again as it was.
func TestNumbers(t *testing.T) {
	for _, d := range append(Dialects(), testKernel) {
		for n := range 256 {
			n := uint8(n)
			for what, again := range map[string]uint8{
				"message": d.t.msgs.write(d.MsgType(n)), "SA type": d.t.satypes.write(d.SAType(n)),
				"authentication": d.t.auths.write(d.Auth(n)), "encryption": d.t.encrypts.write(d.Encrypt(n)),
				"mode": d.t.modes.write(d.Mode(n)),
			} {
				if again != n {
					t.Errorf("%s: %s %d is written as %d", d.Name, what, n, again)
				}
			}
		}
		for n := range 1 << 16 {
			if again, ok := d.ExtNumber(d.ExtType(uint16(n))); int(again) != n || !ok {
				t.Errorf("%s: extension %d is written as %d", d.Name, n, again)
			}
		}
		foreign(t, d, "message", d.t.msgs, allMsgRows)
		foreign(t, d, "SA type", d.t.satypes, allSATypes)
		foreign(t, d, "authentication", d.t.auths, allAuths)
		foreign(t, d, "encryption", d.t.encrypts, allEncrypts)
		foreign(t, d, "mode", d.t.modes, allModes)
	}
}

func foreign[S ~uint16](t *testing.T, d *Dialect, what string, own *numbers[S], all [][]row[S]) {
	for _, rows := range all {
		for _, r := range rows {
			n, has := own.numberOf(r.symbol)
			if !has && n != noNumber || has && own.of(n) != r.symbol {
				t.Errorf("%s: %s %s is written as %d", d.Name, what, r.name, n)
			}
		}
	}
}

// What differs as on OpenBSD is written by its numbers and read back as what it means.
func TestAnotherKernelsNumbers(t *testing.T) {
	d := testKernel.WithOrder(binary.LittleEndian)
	h := Header{Version: Version, Type: MsgAdd, SAType: SATypeESP}
	sa := SA{SPI: 0x1000, State: StateMature, Auth: AuthSHA1HMAC, Encrypt: Enc3DESCBC}
	b := d.AppendSA(d.AppendHeader(nil, h), sa)
	b = d.Finish(d.AppendNATTPort(b, KAMEExtXNATTSPort, NATTPort{4500}))
	if b[3] != 2 || b[HeaderLen+10] != 2 || b[HeaderLen+11] != 2 || b[HeaderLen+saLen+2] != 31 {
		t.Errorf("% x", b)
	}
	if got, _ := d.Header(b); got.SAType != SATypeESP {
		t.Errorf("SA type %v", got.SAType)
	}
	x, _ := d.Find(b, ExtSA)
	if got, err := d.ParseSA(x.Raw); got != sa {
		t.Errorf("%+v, %v", got, err)
	}
	const want = "ADD esp seq=0 pid=0 spi=0x1000 state=mature auth=hmac-sha1 encr=3des-cbc udpencap=4500"
	if got := d.Line(b); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

package illumos_test

import (
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// These tests are for rows of RFC2367.md that no recording shows.

// Any socket may complete the LARVAL SA of another; the RFC allows the kernel to refuse that (3.1.2).
func TestAnySocketUpdates(t *testing.T) {
	k := newTalk(t, engine.Options{})
	k.must(message(wire.MsgGetSPI, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), spiRange(0x1001, 0x1001)))
	other := &talk{t, k.e, openSocket(t, k.e)}
	other.must(message(wire.MsgUpdate, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), assoc(espSA), authExt,
		encryptExt))
	if got := messages(k.s); len(got) != 1 || got[0][1] != byte(wire.MsgUpdate) {
		t.Errorf("the one who reserved it hears %d messages", len(got))
	}
}

// What a proposal says of key lengths (2.3.7): nothing of an algorithm that is not used, and a range of one that is.
func TestProposedKeyLengths(t *testing.T) {
	for _, algs := range []string{
		"auth_algs md5", "auth_algs sha512", "encr_algs aes", "encr_algs aes(192..) encr_auth_algs sha256",
		"encr_algs aes-gcm", "encr_algs 3des encr_auth_algs md5",
		"encr_algs blowfish(..448)", "encr_auth_algs sha1",
	} {
		k := newPoliced(t, engine.Options{}, "{raddr 192.0.2.2} ipsec {"+algs+"}")
		k.e.Outbound(&packet.Packet{Data: udp(t, "192.0.2.1", "192.0.2.2", 7, 9)}, "")
		v, err := d.ParseProposal(find(t, messages(k.s)[0], wire.ExtProposal))
		if err != nil || len(v.Combs) != 1 {
			t.Fatalf("%s: %d combinations (%v)", algs, len(v.Combs), err)
		}
		c := v.Combs[0]
		for _, r := range []struct {
			alg    wire.AlgID
			lo, hi uint16
		}{{c.Auth, c.AuthMinBits, c.AuthMaxBits}, {c.Encrypt, c.EncryptMinBits, c.EncryptMaxBits}} {
			// NULL has no key, whatever the RFC says of algorithms that are used
			none := r.alg == 0 || r.alg == wire.EncNull
			if none != (r.lo|r.hi == 0) || r.lo > r.hi || !none && r.lo == 0 {
				t.Errorf("%s: algorithm %d with keys of %d to %d bits", algs, r.alg, r.lo, r.hi)
			}
		}
	}
}

// The strings of identities are kept and shown, and not read: neither must a prefix hold the address of the SA (3.7),
// nor is one compared by what it means.
func TestIdentitiesAreNotRead(t *testing.T) {
	k := newTalk(t, engine.Options{})
	prefix := func(typ wire.ExtType, s string) ext {
		return func(b []byte) []byte { return d.AppendIdentity(b, typ, wire.Identity{Type: wire.IdentPrefix, Name: s}) }
	}
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), assoc(espSA), authExt, encryptExt,
		prefix(wire.ExtIdentitySrc, "198.51.100.7/24")))
	shown, err := d.ParseIdentity(find(t, k.must(get(wire.SATypeESP, "192.0.2.2", "192.0.2.1", espSA)),
		wire.ExtIdentitySrc))
	if err != nil || shown.Name != "198.51.100.7/24" {
		t.Errorf("shown %q (%v)", shown.Name, err)
	}
	// A purge by an identity that means the same and is written otherwise finds nothing.
	k.must(message(wire.MsgDelete, wire.SATypeESP, dst("192.0.2.1"), prefix(wire.ExtIdentitySrc, "198.051.100.007/24")))
	k.must(get(wire.SATypeESP, "192.0.2.2", "192.0.2.1", espSA))
	k.must(message(wire.MsgDelete, wire.SATypeESP, dst("192.0.2.1"), prefix(wire.ExtIdentitySrc, "198.51.100.7/24")))
	if got := k.ask(get(wire.SATypeESP, "192.0.2.2", "192.0.2.1", espSA)); outcome(got[0]) != "ESRCH SA_NOTFOUND" {
		t.Errorf("purged by its identity: %s", outcome(got[0]))
	}
}

// There is no data form of X_PROMISC (appendix A): a message inside of one is neither sent nor carried out, and
// everything comes back.
func TestPromiscuousData(t *testing.T) {
	k := newTalk(t, engine.Options{})
	other := openSocket(t, k.e)
	msg := slices.Concat(message(wire.MsgXPromisc, 1), message(wire.MsgFlush, wire.SATypeUnspec))
	msg = d.Finish(msg)
	got := k.ask(msg)
	if len(got) != 1 || outcome(got[0]) == "ok" {
		t.Errorf("%d answers", len(got))
	}
	if n := len(messages(other)); n != 0 {
		t.Errorf("another socket hears %d messages", n)
	}
	// Beside the sender only promiscuous sockets hear that the mode is on; copies come as they are.
	k.must(message(wire.MsgXPromisc, 1))
	if n := len(messages(other)); n != 0 {
		t.Errorf("another socket hears %d messages", n)
	}
	flush := message(wire.MsgFlush, wire.SATypeUnspec)
	if errno := other.Send(flush, pfkey.Cred{Privileged: true}); errno != wire.OK {
		t.Fatal(errno)
	}
	if got := messages(k.s); len(got) != 1 || !slices.Equal(got[0], flush) {
		t.Errorf("a promiscuous socket hears %x", got)
	}
}

// A socket that is full loses messages without a word to anybody (1.4), but for those of a DUMP.
func TestFullSocket(t *testing.T) {
	k := newTalk(t, engine.Options{})
	deaf := openSocket(t, k.e)
	for range 1000 {
		k.must(message(wire.MsgFlush, wire.SATypeESP))
	}
	st := k.e.Status(0).Sockets[1]
	if st.Lost == 0 || st.Queued+int(st.Lost) != 1000 {
		t.Errorf("%d wait, %d lost", st.Queued, st.Lost)
	}
	if errno := deaf.Send(message(wire.MsgDump, wire.SATypeUnspec), pfkey.Cred{Privileged: true}); errno != wire.OK {
		t.Fatal(errno)
	}
	all := messages(deaf)
	if last := all[len(all)-1]; last[1] != byte(wire.MsgDump) {
		t.Errorf("the end of the DUMP is lost: %s", d.Line(last))
	}
}

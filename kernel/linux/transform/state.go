package transform

import (
	"math"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// State is one security association, a transform state, as it is at a moment.
type State struct {
	Config
	Phase  sadb.State // DEAD is one that is gone, or that no packet may use any more
	Encap  *Encap     // nil without NAT-T; it is not changed but replaced
	Limits Limits
	Usage  Usage
}

// Config is what an SA is given when it is made and keeps, but for the SPI of a LARVAL one.
type Config struct {
	Proto    uint8 // of IP
	Mode     Mode
	Replay   uint8 // size of the window in packets, up to 32; 0: none
	Flags    Flags
	Src, Dst netip.Addr
	SPI      uint32 // 0: none yet
	ReqID    uint32
	MsgSeq   uint32    // of the message that made it, or of its ACQUIRE
	Sel      *Selector // nil: everything of its own family

	Auth, Encrypt, Compress wire.AlgID // 0: none
	AuthBits, EncryptBits   uint16     // of the keys
	Keys                    []byte     // that of authentication, and behind it that of encryption
}

// AuthKey is the key of authentication.
func (c *Config) AuthKey() []byte { return c.Keys[:keyLen(c.AuthBits)] }

// EncryptKey is the key of encryption.
func (c *Config) EncryptKey() []byte { return c.Keys[keyLen(c.AuthBits):] }

// keyLen is how many bytes so many bits are.
func keyLen(bits uint16) int { return (int(bits) + 7) / 8 }

// V6 tells whether the SA's own packets are IPv6.
func (c *Config) V6() bool { return c.Dst.Is6() }

// Key is the name by which packets, and those who ask, find the SA.
func (c *Config) Key() sadb.Key { return sadb.Key{Dst: c.Dst, SPI: c.SPI, Proto: c.Proto} }

// Encap is UDP encapsulation. It is immutable.
type Encap struct {
	Type         uint8 // 1: with a marker instead of an SPI (draft-ietf-ipsec-udp-encaps-00), 2: RFC 3948
	Sport, Dport uint16
}

// Selector is which flows an SA is for. Addresses are raw, an IPv4 one in the first 4 bytes: the original's union of
// both families shows through in messages. It is immutable.
type Selector struct {
	Src, Dst         [16]byte
	SrcBits, DstBits uint8
	Proto            uint8 // of IP; 0: any
	V6               bool
	Sport, Dport     uint16 // 0: any
}

// Raw is an address as a selector has it.
func Raw(a netip.Addr) (b [16]byte) {
	if a.Is4() {
		v4 := a.As4()
		copy(b[:], v4[:])
		return b
	}
	return a.As16()
}

// Addr is the address of a family that stands in b.
func Addr(b [16]byte, v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(b[:4]))
}

// Unspecified is the unspecified address of a family.
func Unspecified(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// Unlimited is a limit of packets or bytes that is none.
const Unlimited = math.MaxUint64

// Limits are the lifetimes of an SA or a policy.
type Limits struct{ Soft, Hard Lifetime }

// Lifetime is a set of limits. Times are seconds, 0 for none; packets and bytes are Unlimited if there is no limit.
type Lifetime struct{ Packets, Bytes, AddTime, UseTime uint64 }

// NoLimits are none.
var NoLimits = Limits{
	Soft: Lifetime{Packets: Unlimited, Bytes: Unlimited},
	Hard: Lifetime{Packets: Unlimited, Bytes: Unlimited},
}

// Usage is how much an SA has been used, and since when. Times are seconds of Unix time, 0 for never.
type Usage struct {
	Packets, Bytes   uint64
	AddTime, UseTime int64
}

// SPIRequest asks for an SPI in a range, for a LARVAL SA that fits, or a new one.
type SPIRequest struct {
	Proto    uint8 // of IP
	Mode     Mode
	Src, Dst netip.Addr
	ReqID    uint32
	Seq      uint32 // of the ACQUIRE that it answers, if it does
	Min, Max uint32
}

// Filter lets through the SAs whose ends have these first bits, compared as the raw bits that they are. The zero value
// lets everything through.
type Filter struct {
	V4, V6           bool // of this family only
	Src, Dst         [16]byte
	SrcBits, DstBits uint8 // up to 128
}

// Walk goes over the states, or the policies, that there were when it began, newest first, but for those that go
// meanwhile.
type Walk[T any] interface {
	// Each calls f with one after the other until f returns false. Then the next call begins with that one, if it is
	// still there; otherwise all have been shown, and done is true. What f gets is valid until f returns.
	Each(f func(*T) bool) (done bool)
	// Close gives the walk up. It may be closed twice, and when all have been shown.
	Close()
}

package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// errShort says that a message ends before what its type must have.
var errShort = errors.New("netlink: message too short")

// A coder goes over the fields of a structure in the order of the C header, once for both directions: reading puts what
// is there into the fields, writing takes it from them. An error sticks; what is read after it is zero.
type coder struct {
	order   binary.ByteOrder
	b       []byte // what is left to read, or to fill
	writing bool
	err     error
}

// take returns the next n bytes.
func (c *coder) take(n int) []byte {
	if c.err == nil && n > len(c.b) {
		c.err = errShort
	}
	if c.err != nil {
		return make([]byte, n)
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

// pad passes over bytes that mean nothing.
func (c *coder) pad(n int) { c.take(n) }

func (c *coder) u8(v *uint8) {
	if b := c.take(1); c.writing {
		b[0] = *v
	} else {
		*v = b[0]
	}
}

func (c *coder) u16(v *uint16) { c.u16In(c.order, v) }

// be16 is a port, in network order.
func (c *coder) be16(v *uint16) { c.u16In(binary.BigEndian, v) }

func (c *coder) u16In(o binary.ByteOrder, v *uint16) {
	if b := c.take(2); c.writing {
		o.PutUint16(b, *v)
	} else {
		*v = o.Uint16(b)
	}
}

func (c *coder) u32(v *uint32) { c.u32In(c.order, v) }

// be32 is an SPI, in network order.
func (c *coder) be32(v *uint32) { c.u32In(binary.BigEndian, v) }

func (c *coder) u32In(o binary.ByteOrder, v *uint32) {
	if b := c.take(4); c.writing {
		o.PutUint32(b, *v)
	} else {
		*v = o.Uint32(b)
	}
}

func (c *coder) u64(v *uint64) {
	if b := c.take(8); c.writing {
		c.order.PutUint64(b, *v)
	} else {
		*v = c.order.Uint64(b)
	}
}

// raw is an address of either family (xfrm_address_t).
func (c *coder) raw(v *[16]byte) {
	if b := c.take(16); c.writing {
		copy(b, v[:])
	} else {
		copy(v[:], b)
	}
}

// Address families (AF_INET, AF_INET6).
const (
	inet  = 2
	inet6 = 10
)

func familyOf(v6 bool) uint16 {
	if v6 {
		return inet6
	}
	return inet
}

// v6 reads an address family.
func v6(family uint16) (bool, error) {
	if family != inet && family != inet6 {
		return false, fmt.Errorf("netlink: address family %d", family)
	}
	return family == inet6, nil
}

// prefix is an address with how many of its bits count, as selectors have it; the host bits stay.
func prefix(a netip.Addr, bits uint8) (netip.Prefix, error) {
	p := netip.PrefixFrom(a, int(bits))
	if !p.IsValid() {
		return p, fmt.Errorf("netlink: prefix of %d bits", bits)
	}
	return p, nil
}

package pfkey

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/wire"
)

// An Event is what a kernel says by itself, or tells everybody: an [*Acquire], an [*Expire], a [*NewMapping], or an
// [*Other].
type Event interface{ event() }

func (*Acquire) event()    {}
func (*Expire) event()     {}
func (*NewMapping) event() {}
func (*Other) event()      {}

// Limit says which limit of its lifetime a security association has reached.
type Limit uint8

// The limits.
const (
	LimitSoft Limit = iota + 1 // it can still be used, and should be replaced
	LimitHard                  // it is no longer used; Linux has removed it, illumos will
	LimitIdle                  // illumos: it has not been used for long
)

func (l Limit) String() string {
	switch l {
	case LimitSoft:
		return "soft"
	case LimitHard:
		return "hard"
	case LimitIdle:
		return "idle"
	}
	return fmt.Sprintf("unknown(%#x)", uint8(l))
}

// Expire is an EXPIRE: a security association has reached a limit (RFC 2367 section 3.1.8).
type Expire struct {
	// without its keys; Current says how much it was used, and Hard or Soft, whichever was reached, what the limit was
	SA
	Limit Limit // which one it was
}

// parseExpire reads an EXPIRE, which is well formed. The limit is the lifetime that it shows; a kernel that shows both
// says by the state which it is.
func parseExpire(d *wire.Dialect, h wire.Header, msg []byte) (*Expire, error) {
	sa, err := parseSA(d, h, msg)
	if err != nil {
		return nil, err
	}
	e := &Expire{SA: *sa}
	_, idle := d.Find(msg, wire.IllumosExtXLifetimeIdle)
	switch {
	case sa.Hard != nil && (sa.Soft == nil || sa.State == wire.StateDead):
		e.Limit = LimitHard
	case sa.Soft != nil:
		e.Limit = LimitSoft
	case idle:
		e.Limit = LimitIdle
	default:
		return nil, fmt.Errorf("%s does not say which limit was reached", d.MsgName(h.Type))
	}
	return e, nil
}

// NewMapping is Linux' X_NAT_T_NEW_MAPPING: a packet of a security association in UDP came from another address or port
// than before, because a NAT has changed its mind. The association stays as it is.
type NewMapping struct {
	Type     wire.SAType
	SPI      wire.SPI
	Seq      wire.Seq       // the one that the association was made with
	Old, New netip.AddrPort // where packets came from, and where this one came from
}

// parseNewMapping reads an X_NAT_T_NEW_MAPPING, which is well formed.
func parseNewMapping(d *wire.Dialect, h wire.Header, msg []byte) (*NewMapping, error) {
	sa, err := parseSA(d, h, msg)
	if err != nil {
		return nil, err
	}
	port := func(t wire.ExtType) (p wire.NATTPort, err error) {
		x, ok := d.Find(msg, t)
		if !ok {
			return p, fmt.Errorf("%s has no %s extension", d.MsgName(h.Type), t)
		}
		return d.ParseNATTPort(x.Raw)
	}
	from, err := port(wire.KAMEExtXNATTSPort)
	if err != nil {
		return nil, err
	}
	to, err := port(wire.KAMEExtXNATTDPort)
	if err != nil {
		return nil, err
	}
	if !sa.Src.Addr.IsValid() || !sa.Dst.Addr.IsValid() {
		return nil, fmt.Errorf("%s lacks an address", d.MsgName(h.Type))
	}
	return &NewMapping{Type: h.SAType, SPI: sa.SPI, Seq: h.Seq,
		Old: netip.AddrPortFrom(sa.Src.Addr, from.Port), New: netip.AddrPortFrom(sa.Dst.Addr, to.Port)}, nil
}

// Other is any other message, mostly one that answers somebody else. It may hold keys, so that printing shows its
// header only.
type Other struct {
	wire.Header
	Err error  // not nil: it is none of the other events because it cannot be read
	Raw []byte // the whole message
}

func (o Other) String() string {
	s := fmt.Sprintf("%s %s seq=%d pid=%d (%d bytes)", o.Type, o.SAType, o.Seq, o.PID, len(o.Raw))
	if o.Err != nil {
		s += ": " + o.Err.Error()
	}
	return s
}

// Format writes the same as String whatever the verb.
func (o Other) Format(f fmt.State, verb rune) { fmt.Fprint(f, o.String()) }

// LogValue keeps the bytes out of structured logs.
func (o Other) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalText keeps the bytes out of JSON and the like.
func (o Other) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// ParseEvent reads a message as the event that it is. The error is that of a message that is malformed, or lacks what
// every such event has. Extensions in what it returns are views into msg.
func ParseEvent(d *wire.Dialect, msg []byte) (Event, error) {
	h, err := d.Header(msg)
	if err != nil {
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	if h.Type != wire.MsgAcquire && h.Type != wire.MsgExpire &&
		h.Type != wire.KAMEMsgXNATTNewMapping {
		return &Other{Header: h, Raw: msg}, nil
	}
	if err := d.Validate(msg); err != nil {
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	var e Event
	switch h.Type {
	case wire.MsgAcquire:
		e, err = parseAcquire(d, h, msg)
	case wire.MsgExpire:
		e, err = parseExpire(d, h, msg)
	default:
		e, err = parseNewMapping(d, h, msg)
	}
	if err != nil {
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	return e, nil
}

// Watch ranges over what Recv gives, as events. It goes on until the first error of Recv, which comes with a nil Event;
// the end of ctx is one. A message that cannot be read ends nothing: it is an [*Other] that says why.
func (c *Client) Watch(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			msg, err := c.Recv(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			e, err := ParseEvent(c.dialect, msg)
			if err != nil {
				h, _ := c.dialect.Header(msg)
				e = &Other{Header: h, Err: c.fail(OpAnswer, msg, err), Raw: msg}
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

package ipseckey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// sending is one command ready to be sent to each of its destinations.
type sending struct {
	*parse
	typ    wire.MsgType
	satype int32
	spi    wire.SPI
	src    *host // nil: none was given
	dst    *host
	add    bool // add, update, update-pair
	block  bool // errors have the command in front of them
	build  func(src, dst netip.Addr) []byte
	hint   func(diagnostic uint16) string // what more can be said of a refusal, or ""; may be nil
}

// send sends a command, unless it is only checked.
func (s *session) send(ctx context.Context, c sending) error {
	switch {
	case s.check:
		s.added++
		return errSent
	case c.dst == nil:
		return s.sendWithout(ctx, c)
	}
	return s.sendEach(ctx, c)
}

// sendEach sends a command to each of its destinations and judges the answers.
func (s *session) sendEach(ctx context.Context, c sending) (err error) {
	count := s.added
	defer func() {
		switch { // one command, one success
		case s.keeps(quirkCountTargets):
		case errors.Is(err, errSent):
			s.added = count + 1
		default:
			s.added = count
		}
	}()
	for i, dst := range c.dst.addrs {
		last := i == len(c.dst.addrs)-1
		src := netip.IPv6Unspecified()
		switch {
		case c.src == nil:
		case s.numeric:
			src = c.src.addrs[0]
		default:
			var ok bool
			if src, ok = s.chooseSource(&c, dst, last); !ok {
				if last {
					return c.flush(c.block)
				}
				continue
			}
		}
		if err := c.flush(c.block); err != nil {
			return err
		}
		if err := s.sendOne(ctx, &c, src, dst); err != nil {
			return err
		}
	}
	if err := c.flush(c.block); err != nil {
		return err
	}
	return errSent
}

// chooseSource finds the source that fits a destination: of the same family, and for IPv6 of the same scope.
func (s *session) chooseSource(c *sending, dst netip.Addr, last bool) (src netip.Addr, ok bool) {
	unspecified := netip.IPv6Unspecified()
	v4 := dst.Is4In6()
	n := 0
	for _, a := range c.src.addrs {
		if a.Is4In6() != v4 {
			continue
		}
		if !v4 && scopeOf(a) != scopeOf(dst) && scopeOf(a) != scopeUnspecified {
			continue
		}
		src = a
		n++
	}
	if n == 1 {
		return src, true
	}
	switch {
	case n > 1 && v4:
		// The empty line behind a warning ends this one, which has no newline.
		text := c.s.text("Multiple IPv4 source addresses for %s, using unspecified source instead.", []any{c.src.name})
		c.warnPiece(c.block, strings.TrimSuffix(text, "\n"))
		return unspecified, true
	case n > 1:
		c.warnAll(c.block, "Multiple IPv6 source addresses for %s of the same scope, using unspecified source instead.",
			c.src.name)
		return unspecified, true
	case v4:
		fmt.Fprintf(&c.errs, "No IPv4 source address for name %s.\n", c.src.name)
		if last {
			c.errs.WriteString("No match for destination IP address.\n")
		}
	default:
		fmt.Fprintf(&c.errs, "No IPv6 source address of matching scope for name %s.\n", c.src.name)
		if last {
			c.errs.WriteString("No match for IPV6 destination address.\n")
		}
	}
	return unspecified, false
}

// sendOne sends a command to one of its destinations.
func (s *session) sendOne(ctx context.Context, c *sending, src, dst netip.Addr) error {
	msg := c.build(src, dst)
	buf := make([]byte, replySize)
	if c.add && len(msg) < replySize {
		buf = buf[:len(msg)] // the original reads into the buffer that it sent from
	}
	reply, h, e, err := s.ask(ctx, c, msg, buf)
	if err != nil {
		return err
	}
	if e != 0 {
		c.problems = append(c.problems, s.refused(h, msg)...)
	}
	switch {
	case e == 0:
		s.added++
	case e == eexist && (c.typ == wire.MsgAdd || c.typ == wire.MsgUpdate):
		fmt.Fprintf(&c.errs, "Association (type = %s) with spi 0x%x and addr\n%s already exists.\n",
			savedSAType(s.saType(c.satype)), uint32(c.spi), s.blamed(dst))
		return nil
	case (e == esrch || e == enoent && !s.illumos()) && (c.typ == wire.MsgGet || c.typ == wire.MsgDelete):
		fmt.Fprintf(&c.errs, "Association (type = %s) with spi 0x%x and addr\n%s does not exist.\n",
			savedSAType(s.saType(c.satype)), uint32(c.spi), s.blamed(dst))
		return nil
	case c.typ == wire.MsgGetSPI:
		fmt.Fprintf(&c.errs, "No SPI was reserved: %s.\n", strerror(e))
		if h.Reserved != 0 && s.hasDiagnostics() {
			c.errs.WriteString(s.diagnosis(h, "PF_KEY Diagnostic code %d: %s.\n"))
		}
		return nil
	case e == einval, e == esrch:
		c.errs.WriteString(s.diagnosis(h, "PF_KEY Diagnostic code %d: %s.\n"))
		if c.hint != nil {
			if text := c.hint(h.Reserved); text != "" {
				c.problems = append(c.problems, problem{at: len(s.words), note: text})
			}
		}
	default:
		err := s.bailErrno("return message (in doaddresses)", e, nil)
		s.hints(c.problems)
		if err != nil {
			return err
		}
		s.added++
	}
	if c.listed() {
		if s.json {
			s.emit(reply)
		} else if err := s.list(ctx, s.Stdout, s.message(buf, len(reply)), false); err != nil {
			return err
		}
	}
	return c.flush(c.block)
}

// ask makes one exchange: it sends msg and returns the reply that came into buf, its header and its errno by the
// illumos number.
func (s *session) ask(ctx context.Context, c *sending, msg, buf []byte) (reply []byte, h wire.Header, e int,
	err error) {
	reply, err = s.converse(ctx, msg, buf, steps{"write() to PF_KEY socket (in doaddresses)", "read (in doaddresses)"})
	if err != nil {
		return nil, h, 0, err
	}
	h, _ = s.dial.Header(reply)
	if h.Type != c.typ || h.SAType != s.saType(c.satype) {
		const what = "doaddresses: Unexpected returned message"
		got, _ := s.dial.MsgNumber(h.Type)
		want, _ := s.dial.MsgNumber(c.typ)
		if err := s.unexpected(fmt.Sprintf(what+" (%d exp %d)\n", got, want), what); err != nil {
			return nil, h, 0, err
		}
	}
	if e = s.errno(h); e != 0 || !c.listed() {
		s.answered(reply)
	}
	return reply, h, e, nil
}

// listed tells whether the answer is printed as a listing.
func (c *sending) listed() bool { return c.typ == wire.MsgGet || c.typ == wire.MsgGetSPI }

// blamed is the address that "already exists" names.
func (s *session) blamed(dst netip.Addr) string {
	if s.numeric && s.keeps(quirkWrongAddress) && s.lastAddr.IsValid() {
		dst = s.lastAddr
	}
	return showAddr(dst.Unmap())
}

// sendWithout sends a command that has no destination. What comes back is never listed and never counts.
func (s *session) sendWithout(ctx context.Context, c sending) error {
	sources := []netip.Addr{{}}
	if c.src != nil {
		sources = c.src.addrs
	}
	for _, src := range sources {
		msg := c.build(src, netip.Addr{})
		_, h, e, err := s.ask(ctx, &c, msg, make([]byte, replySize))
		if err != nil {
			return err
		}
		switch e {
		case 0:
		case einval:
			s.reportBare("One of the entered values is incorrect.\n")
			s.complain(s.diagnosis(h, listedDiagnostic))
			s.explainRefusal(h, msg)
			if !s.keeps(quirkNoDstExit0) {
				return errAbandon
			}
		default:
			err := s.bailErrno("return message (in doaddresses)", e, nil)
			s.explainRefusal(h, msg)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

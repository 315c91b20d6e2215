package launch

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
)

// The longest socket address that a program can name (struct sockaddr_storage), the most messages of one sendmmsg, and
// the lengths of struct msghdr and struct mmsghdr.
const (
	maxAddress   = 128
	maxBatch     = 1024
	msghdrLen    = 56
	mmsghdrLen   = 64
	sentOffset   = msghdrLen // where sendmmsg says how much it has sent
	vectorOffset = 16        // of the address and the length of the pieces in struct msghdr
)

// plainFlags are the flags of pwritev2 that sockets of Linux 6.1 take: RWF_HIPRI, RWF_DSYNC, RWF_SYNC and RWF_APPEND.
// The upper half of the register is no flag. Later kernels take more, RWF_NOWAIT among them.
const plainFlags = 0xffffffff_00000017

func (c *caller) sends() bool { return slices.Contains(sends, uint32(c.call)) }

// A sending is what one call wants to send.
type sending struct {
	pieces    []piece
	total     uint64
	oob       bool // MSG_OOB
	addressed bool // to somebody
}

// errNothing says that a call does nothing, and returns 0.
var errNothing = errors.New("nothing to do")

// sending reads what the caller wants to send, but for the message itself. The error is what the socket layer says
// before it asks PF_KEY.
func (c *caller) sending() (s sending, err error) {
	a := c.args
	switch c.call {
	case unix.SYS_WRITE:
		return sending{pieces: []piece{{a[1], a[2]}}, total: a[2]}, nil
	case unix.SYS_WRITEV, unix.SYS_PWRITEV2:
		if c.call == unix.SYS_PWRITEV2 && int64(a[3]) != -1 {
			return s, errNotOurs // at a place in the file: no socket takes it
		}
		if a[2] > maxPieces {
			return s, unix.EINVAL
		}
		s.pieces, s.total, err = c.pieces(a[1], a[2])
		switch {
		case err != nil:
		case s.total == 0:
			err = errNothing
		case c.call == unix.SYS_PWRITEV2 && a[5]&^plainFlags != 0:
			err = unix.EOPNOTSUPP
		}
		return s, err
	case unix.SYS_SENDTO:
		s = sending{pieces: []piece{{a[1], a[2]}}, total: a[2], oob: a[3]&unix.MSG_OOB != 0}
		if a[4] != 0 {
			err = c.address(a[4], int32(a[5]))
			s.addressed = int32(a[5]) != 0
		}
		return s, err
	default:
		return c.message(a[1], a[2])
	}
}

// address looks at a socket address as the kernel does, which copies it before it asks who it is for.
func (c *caller) address(at uint64, n int32) error {
	if n < 0 || n > maxAddress {
		return unix.EINVAL
	}
	_, err := c.read(uint64(n), piece{at, uint64(n)})
	return err
}

// message reads a struct msghdr.
func (c *caller) message(at, flags uint64) (s sending, err error) {
	b, err := c.read(msghdrLen, piece{at, msghdrLen})
	if err != nil {
		return s, err
	}
	name, namelen := binary.NativeEndian.Uint64(b), int32(binary.NativeEndian.Uint32(b[8:]))
	vector, count := binary.NativeEndian.Uint64(b[vectorOffset:]), binary.NativeEndian.Uint64(b[vectorOffset+8:])
	control := binary.NativeEndian.Uint64(b[vectorOffset+24:]) // its length; what is in it means nothing to PF_KEY
	s.oob, s.addressed = flags&unix.MSG_OOB != 0, name != 0 && namelen != 0
	switch {
	case name != 0 && namelen < 0:
		return s, unix.EINVAL
	case s.addressed:
		if err := c.address(name, min(namelen, maxAddress)); err != nil {
			return s, err
		}
	}
	if count > maxPieces {
		return s, unix.EMSGSIZE
	}
	s.pieces, s.total, err = c.pieces(vector, count)
	if err == nil && control > math.MaxInt32 {
		err = unix.ENOBUFS
	}
	return s, err
}

// send does what the caller sends on one of our sockets: what a real kernel refuses is refused in its order. The result
// is what the call returns.
func (p *Program) send(c *caller, client Socket) (result uint64, err error) {
	if c.call == unix.SYS_SENDMMSG {
		return p.sendBatch(c, client)
	}
	s, err := c.sending()
	if err != nil {
		return 0, err
	}
	return s.total, p.carry(c, client, s)
}

// carry has the engine do what is to be sent.
func (p *Program) carry(c *caller, client Socket, s sending) error {
	if s.oob {
		if err := client.Call(pfkey.CallSendOOB); err != nil {
			return err
		}
	}
	if s.addressed {
		if err := client.Call(pfkey.CallSendTo); err != nil {
			return err
		}
	}
	if s.total >= maxMessage {
		return unix.EMSGSIZE
	}
	msg, err := c.read(s.total, s.pieces...)
	if err != nil {
		return err
	}
	defer clear(msg) // there may be keys in it
	if !p.waits(c) {
		return errGone
	}
	pid := int32(0)
	if client.Cred().PID != int32(c.tid) { // else it is the first thread of the process that has opened the socket
		pid = credOf(c.tid).PID
	}
	return client.Send(msg, pid)
}

// sendBatch is sendmmsg(2): it returns how many messages were sent before one was refused, and its errno only if it was
// the first.
func (p *Program) sendBatch(c *caller, client Socket) (sent uint64, err error) {
	count := min(uint64(uint32(c.args[2])), maxBatch)
	for ; sent < count; sent++ {
		at := c.args[1] + sent*mmsghdrLen
		s, err := c.message(at, c.args[3])
		if err == nil {
			err = p.carry(c, client, s)
		}
		if err == nil && !p.waits(c) { // it may have been long; somebody else may have its number and its addresses
			err = errGone
		}
		if err == nil {
			err = c.write(binary.NativeEndian.AppendUint32(nil, uint32(s.total)), at+sentOffset)
		}
		if err != nil && (sent == 0 || errors.Is(err, errGone)) {
			return 0, err
		}
		if err != nil {
			break
		}
	}
	return sent, nil
}

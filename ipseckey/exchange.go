package ipseckey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/pfkeyd/pfkeyd/wire"
)

// replySize is the size in bytes of the buffer that replies are read into.
const replySize = 8192

// request begins a message: it takes a sequence number and appends the base header.
func (s *session) request(t wire.MsgType, satype int32) []byte {
	s.seq++
	return s.header(t, satype)
}

func (s *session) header(t wire.MsgType, satype int32) []byte {
	return s.dial.AppendHeader(nil, wire.Header{
		Version: wire.Version, Type: t, SAType: s.saType(satype), Seq: s.seq, PID: s.PID,
	})
}

// showRequest lists a request before it is sent, if -v says so.
func (s *session) showRequest(ctx context.Context, msg []byte) error {
	if !s.verbose {
		return nil
	}
	const rule = "=========================================="
	w := s.Stdout
	if s.json { // which leaves no room for texts
		w = s.Stderr
	}
	fmt.Fprintf(w, "VERBOSE ON:  Message to kernel looks like:\n%s\n", rule)
	if err := s.list(ctx, w, msg, false); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s\n", rule)
	return nil
}

// alarm is the context of one wait for a reply.
func (s *session) alarm(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.blocked {
		return context.WithCancel(ctx)
	}
	d := s.Timeout
	if d == 0 {
		d = 10 * time.Second
	}
	return context.WithTimeout(ctx, d)
}

// expired tells what a failed read means: the time is over, or the run was interrupted. nil means that it is the
// socket's error.
func (s *session) expired(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return &exit{exitInterrupted}
	case !errors.Is(err, context.DeadlineExceeded):
		return nil
	}
	s.complain("ipseckey: Reply message from PF_KEY timed out.\n")
	if s.mode == modeLoop && !s.keeps(quirkAlarmExits) {
		return errAbandon
	}
	return &exit{ExitFailed}
}

// maxFailures bounds the reads that fail in one wait. In a file the original reads again until its alarm ends that.
const maxFailures = 1000

// steps are the original's names for the steps of an exchange.
type steps struct{ write, read string }

// converse sends msg and returns the first message with its sequence number and our pid, in buf.
func (s *session) converse(ctx context.Context, msg, buf []byte, name steps) (reply []byte, err error) {
	if err := s.showRequest(ctx, msg); err != nil {
		return nil, err
	}
	if err := s.conn.Send(ctx, msg); err != nil {
		if err := s.bail(name.write, err); err != nil {
			return nil, err
		}
	}
	wait, cancel := s.alarm(ctx)
	defer cancel()
	for failures := 0; ; {
		n, err := s.conn.Recv(wait, buf)
		if err == nil {
			h, err := s.dial.Header(buf[:n])
			if err == nil && h.Seq == s.seq && h.PID == s.PID && !s.elses(msg, h) {
				return buf[:n], nil
			}
		} else if failures++; failures > maxFailures {
			err = context.DeadlineExceeded
		}
		if err == nil {
			err = wait.Err() // messages for others do not move the alarm
		}
		if err != nil {
			if err := s.expired(ctx, err); err != nil {
				return nil, err
			}
			if err := s.bail(name.read, err); err != nil {
				return nil, err
			}
		}
	}
}

// elses tells whether a message is the answer to a request of another socket of ours, which has counted as far: some
// kernels tell everybody of everything.
func (s *session) elses(msg []byte, h wire.Header) bool {
	own, err := s.dial.Header(msg)
	return err == nil && own.Type != h.Type && !s.dial.DumpEnds()
}

// unexpected reports a reply of another type.
func (s *session) unexpected(log, what string) error {
	if s.Syslog != nil {
		s.Syslog(logAuthNotice, log)
	}
	return s.bail(what, nil)
}

// logAuthNotice is LOG_AUTH | LOG_NOTICE.
const logAuthNotice = 4<<3 | 5

// flush empties the database of one SA type, 0 meaning all.
func (s *session) flush(ctx context.Context, satype int32) error {
	msg := s.dial.Finish(s.request(wire.MsgFlush, satype))
	reply, err := s.converse(ctx, msg, make([]byte, replySize), steps{
		"write() to PF_KEY socket failed (in doflush)", "read (in doflush)"})
	if err != nil {
		return err
	}
	h, _ := s.dial.Header(reply)
	if h.Type != wire.MsgFlush || h.SAType != s.saType(satype) {
		const text = "doflush: Return message not of type SADB_FLUSH!"
		if err := s.unexpected(text, text); err != nil {
			return err
		}
	}
	s.answered(reply)
	if h.Errno == 0 {
		return nil
	}
	defer s.explainRefusal(h, msg)
	if e := s.errno(h); e == einval {
		s.complain(s.diagnosis(h, listedDiagnostic))
		s.complain(fmt.Sprintf("ipseckey: Cannot flush SA type %d.\n", satype))
	}
	return s.bailErrno("return message (in doflush)", s.errno(h), nil)
}

// The illumos numbers that the code looks at.
const (
	eperm  = 1
	enoent = 2
	esrch  = 3
	eacces = 13
	eexist = 17
	einval = 22
)

// errno is the errno of a message as an illumos number.
func (s *session) errno(h wire.Header) int {
	return illumosErrno(s.dial, h.Errno)
}

// dump lists all SAs of a type, or writes them to a save file.
func (s *session) dump(ctx context.Context, satype int32, save *saver) error {
	s.table = nil
	if s.Terminal.Stdout && !s.compat && save == nil && !s.json {
		s.table = &summary{}
	}
	if satype == 0 {
		for _, t := range s.dial.DumpTypes() {
			if whole, err := s.dumpType(ctx, s.satypeOf(t), save, nil); err != nil || !whole {
				return err
			}
		}
	}
	var of func(msg []byte) bool
	if satype == 0 && s.dial.DumpTypes() != nil {
		of = s.isLarval
	}
	whole, err := s.dumpType(ctx, satype, save, of)
	if whole && err == nil {
		s.dumped(satype, save)
	}
	return err
}

// satypeOf is an SA type as commands have it, see [session.saType].
func (s *session) satypeOf(t wire.SAType) int32 {
	if n, ok := s.dial.SATypeNumber(t); ok && t != wire.SATypeAH && t != wire.SATypeESP {
		return int32(n)
	}
	return int32(t)
}

// isLarval tells whether a message is about a LARVAL SA.
func (s *session) isLarval(msg []byte) bool {
	x, ok := s.dial.Find(msg, wire.ExtSA)
	if !ok {
		return false
	}
	v, err := s.dial.ParseSA(x.Raw)
	return err == nil && v.State == wire.StateLarval
}

// dumpType lists or saves the SAs of one DUMP, of which only may leave some out; nil: all of them. whole tells that the
// end has come.
func (s *session) dumpType(ctx context.Context, satype int32, save *saver, only func(msg []byte) bool) (whole bool,
	err error) {
	msg := s.dial.Finish(s.request(wire.MsgDump, satype))
	if err := s.showRequest(ctx, msg); err != nil {
		return false, err
	}
	// The original reads into the buffer that it sent from, and never looks at how much it got.
	buf := make([]byte, replySize)
	copy(buf, msg)
	if err := s.conn.Send(ctx, msg); err != nil {
		if err := s.bail("write to PF_KEY socket failed (in dodump)", err); err != nil {
			return false, err
		}
	}
	if !s.dial.DumpEnds() {
		if err := s.fence(ctx); err != nil {
			return false, err
		}
	}
	for {
		wait, cancel := s.alarm(ctx)
		n, err := s.conn.Recv(wait, buf)
		cancel()
		if err != nil {
			if err := s.expired(ctx, err); err != nil {
				return false, err
			}
			if err := s.bail("read (in dodump)", err); err != nil {
				return false, err
			}
			continue
		}
		if n < wire.HeaderLen && !s.keeps(quirkStaleReply) {
			continue
		}
		h, _ := s.dial.Header(buf)
		switch {
		case h.PID != s.PID:
		case !s.dial.DumpEnds() && h.Type != wire.MsgDump:
			if h.Type == wire.MsgGet && h.Seq == s.seq {
				return true, nil
			}
		case h.Errno != 0 && !s.illumos() && s.errno(h) == enoent: // nothing there
			return true, nil
		case h.Errno != 0:
			s.complain(s.diagnosis(h, listedDiagnostic))
			s.answered(buf[:max(n, wire.HeaderLen)])
			defer s.explainRefusal(h, msg)
			return false, s.bailErrno("Dump failed", s.errno(h), nil)
		case h.Seq == 0 && (s.illumos() || n == wire.HeaderLen):
			return true, nil
		case h.Type != wire.MsgDump:
		case only != nil && !only(buf[:n]):
		default:
			if err := s.dumpOne(ctx, s.message(buf, n), save); err != nil {
				return false, err
			}
			if h.Seq == 0 && s.dial.DumpEnds() { // elsewhere the last SA itself is the end
				return true, nil
			}
		}
	}
}

// fence asks for an SA that is hardly there. When that is answered, all that was asked before has been.
func (s *session) fence(ctx context.Context) error {
	msg := s.request(wire.MsgGet, int32(wire.SATypeESP))
	msg = s.dial.AppendSA(msg, wire.SA{})
	msg = s.dial.AppendAddress(msg, wire.ExtAddressDst, wire.Address{Addr: netip.IPv4Unspecified()})
	if err := s.conn.Send(ctx, s.dial.Finish(msg)); err != nil {
		return s.bail("write to PF_KEY socket failed (in dodump)", err)
	}
	return nil
}

// dumpOne lists or saves one SA of a dump.
func (s *session) dumpOne(ctx context.Context, msg []byte, save *saver) error {
	switch {
	case save != nil:
		return save.add(msg)
	case s.json:
		s.emit(msg)
		return nil
	}
	if s.table != nil {
		s.table.add(s, msg)
	}
	if err := s.list(ctx, s.Stdout, msg, false); err != nil {
		return err
	}
	fmt.Fprint(s.Stdout, "\n")
	return nil
}

// dumped says that a dump is complete.
func (s *session) dumped(satype int32, save *saver) {
	if save == nil && !s.json {
		fmt.Fprintf(s.Stdout, "Dump succeeded for SA type %d.\n", satype)
		if s.table != nil {
			s.table.print(s, s.Stdout)
		}
	}
}

// message is what a listing reads of a buffer of which n bytes were received: to the end of the buffer if the original
// is kept, which relies on the length in the header alone.
func (s *session) message(buf []byte, n int) []byte {
	if s.keeps(quirkStaleReply) {
		return buf
	}
	return buf[:n]
}

// monitor lists what arrives until it is interrupted. An active one asks for all messages first.
func (s *session) monitor(ctx context.Context, active bool) error {
	if active {
		if !s.json {
			fmt.Fprint(s.Stdout, "Actively")
		}
		msg := s.dial.Finish(s.request(wire.MsgXPromisc, 1))
		if err := s.showRequest(ctx, msg); err != nil {
			return err
		}
		if err := s.conn.Send(ctx, msg); err != nil {
			if err := s.bail("write (SADB_X_PROMISC)", err); err != nil {
				return err
			}
		}
	} else if !s.json {
		fmt.Fprint(s.Stdout, "Passively")
	}
	if !s.json {
		fmt.Fprint(s.Stdout, " monitoring the PF_KEY socket.\n")
	}
	watch, done := s.interrupts.monitoring(ctx)
	defer done()
	buf := make([]byte, replySize)
	for {
		s.sync()
		n, err := s.conn.Recv(watch, buf)
		switch {
		case err != nil && ctx.Err() != nil:
			return &exit{exitInterrupted}
		case err != nil && watch.Err() != nil:
			return s.interrupted()
		case err != nil:
			if err := s.bail("read (in domonitor)", err); err != nil {
				return err
			}
			continue
		}
		if s.json {
			if n >= wire.HeaderLen {
				s.emit(buf[:n])
			}
			continue
		}
		fmt.Fprintf(s.Stdout, "Read %d bytes.\n", n)
		if n < wire.HeaderLen && !s.keeps(quirkStaleReply) {
			fmt.Fprint(s.Stdout, "\n")
			continue
		}
		if err := s.list(ctx, s.Stdout, s.message(buf, n), true); err != nil {
			return err
		}
		fmt.Fprint(s.Stdout, "\n")
	}
}

// interrupted ends a monitor.
func (s *session) interrupted() error {
	if s.mode == modeLoop {
		if !s.json {
			fmt.Fprint(s.Stdout, "\n")
		}
		return nil
	}
	fmt.Fprint(s.Stderr, "ipseckey: Bailing on signal 2.\n")
	return &exit{2}
}

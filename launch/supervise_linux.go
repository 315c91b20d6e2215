package launch

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// slow is how long the leader may be busy with a call before another one leads.
const slow = time.Millisecond

// lastWords is how long calls may take whose callers are all gone.
const lastWords = time.Second

// A crew answers calls. One of its goroutines leads: it takes the calls, one after the other, and does each on the
// thread that the caller has woken, which is what makes it fast. What has to do with a PF_KEY socket may have to wait
// for an engine, and what reads the caller's memory for whoever provides that (userfaultfd(2), FUSE); so that nobody
// else is held up, the deputy then starts another leader, and this one ends with its call.
type crew struct {
	p       *Program
	h       Handler
	wake    int // readable when all is to end
	alarm   int // a timer: the leader is slow
	busy    atomic.Pointer[task]
	ended   atomic.Bool
	over    chan error // why nobody leads any more: nil if that was asked for, io.EOF if there is nothing to lead
	working sync.WaitGroup
}

// A task is what a leader is busy with. Who sets it first has the lead afterwards.
type task struct{ settled atomic.Bool }

// Supervise answers the calls that the filter stops, until the last process under the filter is gone, or ctx ends: then
// all processes under it that are known are killed, and every other one in its next call that is stopped. It returns
// nil when all are gone. If h has calls of theirs then that it does not end soon, because the engine stands still, they
// are left to it.
func (p *Program) Supervise(ctx context.Context, h Handler) (err error) {
	left := false // to somebody else, who closes the listener
	defer func() {
		if !left {
			p.listener.Close()
		}
	}()
	last := byte(revenge)
	defer func() { p.guard.end(last) }()
	wake, stop, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	defer wake.Close()
	defer context.AfterFunc(ctx, func() { stop.Close() })()
	defer stop.Close()
	alarm, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("launch: %w", os.NewSyscallError("timerfd_create", err))
	}
	defer unix.Close(alarm)
	stopped, err := p.guard.release()
	if err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	c := &crew{p: p, h: h, wake: int(wake.Fd()), alarm: alarm, over: make(chan error, 1)}
	for _, n := range stopped {
		if todo := p.look(&caller{n}, h); todo != nil {
			c.working.Go(todo)
		}
	}
	c.working.Go(c.lead)
	var deputy sync.WaitGroup
	deputy.Go(c.deputize)
	err = <-c.over
	c.ended.Store(true)
	c.ring(1) // so that the deputy sees that
	deputy.Wait()
	var late <-chan time.Time
	switch err {
	case io.EOF:
		last, err = farewell, nil
		late = time.After(lastWords)
	case nil:
		p.guard.end(revenge) // before the wait for what still goes on
		err = ctx.Err()
	default:
		err = fmt.Errorf("launch: %w", err)
	}
	left = true
	quiet := make(chan struct{})
	go func() {
		c.working.Wait()
		p.listener.Close()
		close(quiet)
	}()
	select {
	case <-quiet:
	case <-late:
	}
	runtime.KeepAlive(wake)
	return err
}

// lead answers calls until somebody else leads.
func (c *crew) lead() {
	p := c.p
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}, {Fd: int32(c.wake), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			c.over <- os.NewSyscallError("poll", err)
			return
		}
		switch {
		case fds[1].Revents != 0: // ctx has ended
			c.over <- nil
			return
		case fds[0].Revents&unix.POLLIN != 0:
			// RECV waits, and nothing but a call ends its wait. So it is done only when there is one.
			n, err := receive(p.fd)
			switch {
			case err == unix.ENOENT:
				p.count(func(c *Counters) { c.Gone++ })
			case err != nil:
				c.over <- os.NewSyscallError("ioctl", err)
				return
			default:
				if todo := p.look(&caller{n}, c.h); todo != nil && !c.do(todo) {
					return
				}
			}
		case fds[0].Revents != 0: // the last one is gone
			c.over <- io.EOF
			return
		}
	}
}

// do does what may take some time, and says whether its caller still leads.
func (c *crew) do(todo func()) bool {
	t := new(task)
	c.busy.Store(t)
	c.ring(slow)
	todo()
	if !t.settled.CompareAndSwap(false, true) {
		return false
	}
	c.ring(0) // the alarm is the leader's
	return true
}

// deputize starts another leader when the one there is is slow. It is one goroutine, which Supervise waits for.
func (c *crew) deputize() {
	var count [8]byte
	for {
		if _, err := unix.Read(c.alarm, count[:]); err != nil && err != unix.EINTR || c.ended.Load() {
			return
		}
		if t := c.busy.Load(); t != nil && t.settled.CompareAndSwap(false, true) {
			c.working.Go(c.lead)
		}
	}
}

// ring has the alarm ring once after d; never, if that is 0. The runtime's own timers would wake a thread each time.
func (c *crew) ring(d time.Duration) {
	t := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	_ = unix.TimerfdSettime(c.alarm, 0, &t, nil) // the timer is there, and the time is right
}

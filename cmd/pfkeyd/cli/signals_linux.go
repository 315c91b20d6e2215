package cli

import (
	"context"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/processes"
)

var (
	// endings are the signals that tell programs to end. They are for every process under run, however deep, and for
	// those that lose their parents later without having been told.
	endings = []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}
	// passedOn are the others that are passed on: to the program and to the daemons that it has left, as their meaning
	// is their own.
	passedOn = []os.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2}
)

// orphanTime is how often run looks for orphans once it has been told to end: nobody tells it of them.
const orphanTime = 50 * time.Millisecond

// passOn gives signals to the programs, and buries orphans.
func (r *runner) passOn(ctx context.Context, signals <-chan os.Signal) {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
			r.tellOrphans()
		case s := <-signals:
			switch sig := s.(syscall.Signal); sig {
			case unix.SIGCHLD:
				r.bury()
				r.tellOrphans()
			case unix.SIGINT, unix.SIGQUIT, unix.SIGTERM:
				r.tellAll(sig)
				if again == nil {
					ticker := time.NewTicker(orphanTime)
					defer ticker.Stop()
					again = ticker.C
				}
			default:
				// The program and its orphans get it, always: whether the program has ended cannot be known in time,
				// and a signal must not be lost in between.
				r.mu.Lock()
				if r.pid != 0 {
					_ = unix.Kill(r.pid, sig)
				}
				for _, pid := range r.orphansLocked() {
					_ = unix.Kill(pid, sig)
				}
				r.mu.Unlock()
			}
		}
	}
}

// tellAll tells every process under run to end. What is typed at a terminal is told by the terminal to the processes in
// its foreground.
func (r *runner) tellAll(sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	foreground := 0
	if sig != unix.SIGTERM {
		foreground = foregroundGroup()
	}
	r.told, r.ending = map[int]bool{}, sig
	for _, child := range processes.Children(os.Getpid()) {
		if r.ownLocked(child) {
			continue
		}
		for _, pid := range append(processes.Descendants(child), child) {
			r.told[pid] = true
			if group, err := unix.Getpgid(pid); err != nil || foreground != 0 && group == foreground {
				continue
			}
			_ = unix.Kill(pid, sig)
		}
	}
}

// tellOrphans tells those who have lost their parents since tellAll, which have become children of run, and do not know
// it yet.
func (r *runner) tellOrphans() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told == nil {
		return
	}
	for _, pid := range r.orphansLocked() {
		if !r.told[pid] {
			r.told[pid] = true
			_ = unix.Kill(pid, r.ending)
		}
	}
}

// foregroundGroup is the process group in the foreground of the terminal, if run is in it; else 0.
func foregroundGroup() int {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return 0
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		return 0
	}
	return group
}

// bury reaps orphans that have ended.
func (r *runner) bury() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, pid := range r.orphansLocked() {
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

// orphansLocked are the children that this process has got and not made. It needs r.mu.
func (r *runner) orphansLocked() (pids []int) {
	for _, pid := range processes.Children(os.Getpid()) {
		if pid != r.pid && !r.ownLocked(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// ownLocked says whether a child is not a program but a helper of this process. It needs r.mu.
func (r *runner) ownLocked(pid int) bool {
	return pid == r.guard || r.engine != nil && pid == r.engine.Process.Pid
}

package launch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/processes"
)

// A guardian is a process beside the launcher that holds the filter's listener as well, and answers when the launcher
// does not: while the program is being started, and until somebody supervises it, it lets every call go on but
// socket(2); and when the launcher has been killed it kills the programs, instead of leaving them with calls that fail
// with ENOSYS for ever. Otherwise it sleeps. It is a session of its own, and hears no signal of a terminal.
//
// It kills at once the first process with all that descend from it, and every process that has the mark of the program
// in its environment or a PF_KEY socket open; all others in their next call that is stopped.
type guardian struct {
	mark string // an assignment in the environment of the program and of what it starts
	cmd  *exec.Cmd
	line *os.File // blocking; a SOCK_SEQPACKET socket

	mu    sync.Mutex // held while something is said
	ended bool       // nothing more is said; the line is closed
}

// guardianName is the name, and all the arguments, of a process that is to be a guardian.
const guardianName = "pfkeyd-guardian"

func init() {
	if len(os.Args) == 1 && os.Args[0] == guardianName {
		guard(3)
		unix.Exit(0) // without what a Go program does at its end: with the race detector that takes a second
	}
}

// What is said to a guardian; the first byte of a message. The end of the line says that the launcher is dead.
const (
	watchOver = 'w' // with the listener: let calls go on
	protect   = 'p' // the first process
	handBack  = 'h' // leave the calls to the launcher; answered with those put aside, and a message of one byte
	noteMark  = 'm' // the mark
	noteFile  = 'n' // a file that only programs have open
	removeAll = 'r' // a path, to be removed if the launcher dies
	farewell  = 'f' // all is over; let calls go on as long as there are any
	revenge   = 'k' // kill them all
)

// startGuardian starts a guardian, which waits for a listener.
func startGuardian(remove []string) (*guardian, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "line")
	defer theirs.Close()
	g := &guardian{
		mark: fmt.Sprintf("%s=%d-%s-%d", markVariable, os.Getpid(), birth(os.Getpid()), marks.Add(1)),
		cmd:  exec.Command("/proc/self/exe"), line: os.NewFile(uintptr(pair[0]), "line"),
	}
	g.cmd.Args = []string{guardianName}
	g.cmd.Dir = "/"
	g.cmd.ExtraFiles = []*os.File{theirs}
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := g.cmd.Start(); err != nil {
		g.line.Close()
		return nil, fmt.Errorf("guardian: %w", err)
	}
	err = g.say(append([]byte{noteMark}, g.mark...), -1)
	for _, path := range remove {
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err == nil {
			err = g.say(append([]byte{removeAll}, path...), -1)
		}
	}
	if err != nil {
		g.end(farewell)
		return nil, err
	}
	return g, nil
}

// markVariable is what a mark assigns to; marks counts those of this process.
const markVariable = "PFKEYD_LAUNCH"

var marks atomic.Uint64

// say sends a message. fd goes along unless it is negative.
func (g *guardian) say(b []byte, fd int) error { return g.send(b, fd, 0) }

func (g *guardian) send(b []byte, fd, flags int) error {
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return fmt.Errorf("guardian: %w", os.ErrClosed)
	}
	if err := unix.Sendmsg(int(g.line.Fd()), b, rights, nil, unix.MSG_NOSIGNAL|flags); err != nil {
		return fmt.Errorf("guardian: %w", os.NewSyscallError("sendmsg", err))
	}
	return nil
}

// hear waits for a message of the guardian.
func (g *guardian) hear(b []byte) (n int, err error) {
	for {
		n, err = unix.Read(int(g.line.Fd()), b)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = unix.EPIPE
		}
		if err != nil {
			return 0, fmt.Errorf("guardian: %w", os.NewSyscallError("read", err))
		}
		return n, nil
	}
}

// watch gives the listener to the guardian, and returns when it answers the calls.
func (g *guardian) watch(listener int) error {
	if err := g.say([]byte{watchOver}, listener); err != nil {
		return err
	}
	_, err := g.hear(make([]byte, 1))
	return err
}

// protect names the first process.
func (g *guardian) protect(pid int) error {
	return g.say(binary.NativeEndian.AppendUint32([]byte{protect}, uint32(pid)), -1)
}

// release takes the answering over from the guardian, with what it has put aside.
func (g *guardian) release() (stopped []notification, err error) {
	if err := g.say([]byte{handBack}, -1); err != nil {
		return nil, err
	}
	for {
		var n notification
		b := unsafe.Slice((*byte)(unsafe.Pointer(&n)), unsafe.Sizeof(n))
		got, err := g.hear(b)
		if err != nil || got == 1 {
			return stopped, err
		}
		stopped = append(stopped, n)
	}
}

// note tells the guardian of a file that only programs have open. Without a guardian nothing is lost but its help.
func (g *guardian) note(id FileID) {
	b := binary.NativeEndian.AppendUint64([]byte{noteFile}, id.Device)
	b = binary.NativeEndian.AppendUint64(b, id.Inode)
	_ = g.send(b, -1, unix.MSG_DONTWAIT)
}

// maxNoted is how many files a guardian knows.
const maxNoted = 1 << 16

// end says the last word to the guardian; only the first one counts. It waits for its end if all is over, which it sees
// at once.
func (g *guardian) end(last byte) {
	_ = g.say([]byte{last}, -1) // it may be dead
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return
	}
	g.ended = true
	g.line.Close()
	if last == farewell {
		_ = g.cmd.Wait()
		return
	}
	go func() { _ = g.cmd.Wait() }()
}

// watcher is the guardian's own side.
type watcher struct {
	line     int
	listener int      // -1: not yet
	file     *os.File // keeps the listener open
	launcher int
	answers  bool           // lets calls go on
	kills    bool           // kills who calls
	aside    []notification // calls that only the launcher can answer
	first    int            // process; 0: not yet
	born     string         // when that was
	mark     []byte
	files    map[FileID]bool
	sockets  uint64 // the device of all sockets
	remove   []string
}

// guard is the life of a guardian.
func guard(line int) {
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGPIPE)
	w := watcher{line: line, listener: -1, launcher: os.Getppid(), files: map[FileID]bool{}}
	if id, err := fileID(line); err == nil {
		w.sockets = id.Device
	}
	fds := []unix.PollFd{{Fd: int32(line), Events: unix.POLLIN}, {Fd: -1, Events: unix.POLLIN}}
	for {
		fds[0].Fd, fds[1].Fd = int32(w.line), -1 // negative ones are left out
		if w.answers || w.kills {
			fds[1].Fd = int32(w.listener)
		}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
		}
		switch call := fds[1].Revents; {
		case fds[1].Fd < 0:
		case call&unix.POLLIN != 0:
			w.call()
		case call != 0 && w.line < 0:
			return // nobody is left
		case call != 0:
			w.answers = false // the launcher will see that nobody is left
		}
		if fds[0].Fd >= 0 && fds[0].Revents != 0 {
			w.hear()
			if w.line < 0 && w.listener < 0 {
				return
			}
		}
	}
}

// hear does what the launcher says.
func (w *watcher) hear() {
	var b [4096]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(w.line, b[:], oob, unix.MSG_CMSG_CLOEXEC)
	if err == unix.EINTR {
		return
	}
	last := byte(0)
	if err == nil && n > 0 {
		last = b[0]
	}
	body := b[min(n, 1):max(n, 1)]
	switch last {
	case watchOver:
		for _, f := range received(oob[:oobn]) {
			w.listener, w.file = int(f.Fd()), f
		}
		w.answers = w.listener >= 0
		_, _ = unix.Write(w.line, []byte{0})
	case protect:
		w.first = int(binary.NativeEndian.Uint32(body))
		w.born = birth(w.first)
	case handBack:
		w.answers = false
		for i := range w.aside {
			_, _ = unix.Write(w.line, unsafe.Slice((*byte)(unsafe.Pointer(&w.aside[i])), unsafe.Sizeof(w.aside[i])))
		}
		w.aside = nil
		_, _ = unix.Write(w.line, []byte{0})
	case noteMark:
		w.mark = bytes.Clone(body)
	case noteFile:
		if len(w.files) >= maxNoted {
			clear(w.files) // most are closed; who has an old one open is killed a little later
		}
		w.files[FileID{binary.NativeEndian.Uint64(body), binary.NativeEndian.Uint64(body[8:])}] = true
	case removeAll:
		w.remove = append(w.remove, string(body))
	case farewell:
		w.hangUp()
		w.answers = true
	case revenge:
		w.hangUp()
		w.kill()
	default: // it is dead
		w.hangUp()
		w.launcher = 0
		w.kill()
		for _, path := range w.remove {
			os.RemoveAll(path)
		}
	}
}

func (w *watcher) hangUp() {
	unix.Close(w.line)
	w.line = -1
}

// call answers a call, or kills the caller.
func (w *watcher) call() {
	n, err := receive(w.listener)
	switch {
	case err != nil: // it is gone
	case w.kills && n.tid != 0 && !w.isLauncher(int(n.tid)):
		_ = unix.Kill(int(n.tid), unix.SIGKILL) // the caller waits, so that the number is its own
	case w.answers && !w.kills && w.line >= 0 && n.call == unix.SYS_SOCKET:
		w.aside = append(w.aside, n)
	default:
		_ = proceed(w.listener, n.id)
	}
}

// isLauncher says whether a thread is the launcher's. One of them was under the filter for a moment.
func (w *watcher) isLauncher(tid int) bool {
	if w.launcher == 0 {
		return false
	}
	_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", w.launcher, tid))
	return err == nil
}

// kill kills what is known of the programs, and has call kill the rest.
func (w *watcher) kill() {
	w.kills = w.listener >= 0
	if w.first == 0 {
		return
	}
	if w.born != "" && birth(w.first) == w.born {
		for _, pid := range append(processes.Descendants(w.first), w.first) {
			if underFilter(pid) {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		pid, _ := strconv.Atoi(filepath.Base(proc))
		if pid != os.Getpid() && pid != w.launcher && (w.holds(proc) || w.marked(proc)) && underFilter(pid) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// holds says whether a process has one of the noted files open.
func (w *watcher) holds(proc string) bool {
	fds, _ := os.ReadDir(proc + "/fd")
	for _, fd := range fds {
		if inode, ok := linkedSocket(proc + "/fd/" + fd.Name()); ok && w.files[FileID{w.sockets, inode}] {
			return true
		}
	}
	return false
}

// marked says whether a process was started with the mark in its environment.
func (w *watcher) marked(proc string) bool {
	b, err := os.ReadFile(proc + "/environ")
	if err != nil {
		return false
	}
	for entry := range bytes.SplitSeq(b, []byte{0}) {
		if bytes.Equal(entry, w.mark) {
			return true
		}
	}
	return false
}

// underFilter says whether a process is under a filter of seccomp.
func underFilter(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && bytes.Contains(b, []byte("\nSeccomp:\t2\n"))
}

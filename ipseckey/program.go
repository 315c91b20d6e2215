package ipseckey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Exit codes of a run.
const (
	ExitDone        = 0
	ExitFailed      = 1   // refused, failed, or used wrongly
	ExitNoEngine    = 3   // nobody at the address of the engine
	ExitBadConfig   = 95  // the same as ExitFailed, for the service manager
	ExitPermission  = 100 // may not open the socket, for the service manager
	exitInterrupted = 128 + 2
	ExitCrash       = 139 // with --compat: the original ends with a segmentation fault here
)

// Conn is a PF_KEY socket as this package needs it. It is used by one goroutine at a time.
//
// An errno that a call fails with is found in the error's chain: an [Errno], a syscall.Errno, or anything with a method
// Errno() wire.Errno.
type Conn interface {
	// Send writes one message.
	Send(ctx context.Context, msg []byte) error
	// Recv waits for one message and copies it into buf; what does not fit is lost. n is how much was copied. When ctx
	// is done it returns ctx's error.
	Recv(ctx context.Context, buf []byte) (n int, err error)
	Close() error
}

// Terminal says which of a run's streams are terminals.
type Terminal struct{ Stdin, Stdout, Stderr bool }

// Program is one run of the command and all that it touches. Fields without a remark may be nil or zero.
type Program struct {
	Stdin          io.Reader // required
	Stdout, Stderr io.Writer // required
	Terminal       Terminal

	// Dial opens a PF_KEY socket at an engine: the value of --engine, or "" for the one that PFKEY_ENGINE and the
	// defaults say. When there is none, its error has pfkey.ErrNoEngine in its chain, and the run ends with
	// [ExitNoEngine]. Required.
	Dial func(ctx context.Context, address string) (Conn, *wire.Dialect, error)
	// Dialect is what is spoken to an engine that is not there: -c needs one. nil means illumos.
	Dialect *wire.Dialect

	Names      Names        // nil: no names are known
	Files      Files        // nil: there are no files
	Algorithms *Algorithms  // nil: StockAlgorithms
	Cookies    CookieLabels // nil: none

	// Editor reads lines when standard input is a terminal. nil: lines are read as they come.
	Editor LineEditor
	// Supported asks the engine at an address for its algorithms of an SA type; see [Ask]. nil: they are not known, and
	// the engine itself refuses what it does not have. It must not use the socket that Dial opened.
	Supported func(ctx context.Context, address string, t wire.SAType) (Supported, error)

	Now      func() time.Time // required by listings and their times
	Location *time.Location   // nil means UTC
	PID      uint32           // in requests, and what replies must carry
	UID      int              // the real user id
	Env      func(name string) (value string, ok bool)
	Syslog   func(level int, text string) // level is facility*8+severity

	Version string // what --version prints behind the name; empty: nothing is known

	Timeout time.Duration // for a reply; 0 means ten seconds
	// Interrupts delivers the signals that would end the program (SIGINT). One that comes while a monitor runs ends the
	// monitor; at the prompt it is ignored; otherwise it ends the run.
	Interrupts <-chan struct{}
}

// CookieLabels gives the label of a key management cookie, from the cookie map file.
type CookieLabels func(protocol uint32, cookie uint32) (label string, ok bool)

// mode is how the run gets its commands.
type mode int

const (
	modeOneShot mode = iota
	modeLoop         // from standard input
	modeFile
)

// options are those of the command line.
type options struct {
	numeric, verbose, paranoid bool
	check                      bool // -c was among them
	file                       string
	fileGiven                  bool
	saveGiven                  bool
	json                       bool
	compat                     bool
	showKeys                   bool
	engine                     string
	kernel                     string // --kernel
	colour                     string // --color
	helpGiven, versionGiven    bool   // --help, --version
}

// session is the state of one run.
type session struct {
	*Program
	options
	ctx            context.Context // of the run
	Stdout, Stderr io.Writer       // in place of the program's
	later          strings.Builder // what is printed behind everything else, on standard error

	quirks quirk
	fmri   string // name of the service
	smf    bool   // run by the service manager

	mode mode
	dial *wire.Dialect
	conn Conn
	seq  wire.Seq

	reader   *lineReader
	command  string // the joined command, for the block in front of its errors
	words    []word
	secrets  []bool // which of the words are keys, once somebody asked
	parsed   int
	added    int
	failed   bool // a command failed
	blocked  bool // signals are blocked, the alarm among them
	lastAddr netip.Addr

	failedLines []int
	result      Result // of the command that runs, for --json
	table       *summary
	known       map[wire.SAType]Supported
	whose       string // they are
	interrupts  *interrupts
	stock       *Algorithms // when the program has none
}

// exit is the error that ends a run.
type exit struct{ code int }

func (e *exit) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// errAbandon ends a command whose failure has been reported.
var errAbandon = errors.New("command abandoned")

// errSent is no failure: the command got as far as an exchange, after which the original's prompt stays away.
var errSent = errors.New("command sent")

func (s *session) keeps(q quirk) bool { return s.quirks&q != 0 }

// Run runs the command with the words behind its name and returns the exit status. It ends early when ctx is done.
func (p *Program) Run(ctx context.Context, args []string) int {
	s := &session{Program: p, Stdout: p.Stdout, Stderr: p.Stderr}
	if p.Env != nil {
		s.fmri, s.smf = p.Env("SMF_FMRI")
	}
	ctx, s.interrupts = watchInterrupts(ctx, p.Interrupts)
	defer s.interrupts.stop()
	s.ctx = ctx
	err := s.run(ctx, args)
	if s.conn != nil {
		s.conn.Close()
	}
	var e *exit
	if !errors.As(err, &e) || e.code != ExitCrash {
		s.sync()
	}
	io.WriteString(s.Stderr, s.later.String())
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &e):
		return e.code
	}
	return ExitFailed
}

func (s *session) run(ctx context.Context, args []string) error {
	args, ownErr := s.takeOwnOptions(args)
	if s.compat {
		s.quirks = allQuirks
	}
	if s.keeps(quirkCrash) {
		s.Stdout = &stdio{w: s.Stdout}
	}
	if s.keeps(quirkRootOnly) && s.UID != 0 {
		fmt.Fprint(s.Stderr, "ipseckey: Insufficient privileges to run ipseckey.\n")
		return &exit{ExitFailed}
	}
	if ownErr != nil {
		fmt.Fprintf(s.Stderr, "ipseckey: %v\n", ownErr)
		return s.usage()
	}
	if s.helpGiven || s.versionGiven {
		return s.tell()
	}
	rest, input, output, err := s.parseOptions(args)
	if input != nil {
		defer input.Close()
	}
	if output != nil {
		defer output.Close()
	}
	if err != nil {
		return err
	}
	if s.needsSocket(rest) {
		if err := s.openSocket(ctx); err != nil {
			return err
		}
	} else {
		s.dial = s.Dialect
		if s.kernel != "" {
			s.dial, _ = wire.ByName(s.kernel)
		}
		if s.dial == nil {
			s.dial = wire.Illumos()
		}
	}
	if s.saveGiven {
		err := s.saveTo(ctx, output, 0)
		s.finish("save", err)
		return err
	}
	if s.smf && s.fileGiven && !(s.check && !s.keeps(quirkCheckSends)) {
		if !s.json {
			fmt.Fprint(s.Stdout, "Flushing existing SA's before adding new SA's\n")
		}
		if err := s.flush(ctx, 0); err != nil {
			return err
		}
	}
	switch {
	case s.fileGiven:
		s.mode = modeFile
		return s.fileLoop(ctx, input)
	case len(rest) == 0:
		s.mode = modeLoop
		return s.stdinLoop(ctx)
	}
	words := make([]word, len(rest))
	for i, a := range rest {
		words[i] = word{a, -1, -1}
	}
	s.command, s.words, s.secrets = strings.Join(rest, " "), words, nil
	err = s.execute(ctx, words)
	switch {
	case errors.Is(err, errAbandon):
		return s.fatal()
	case errors.Is(err, errSent):
		return nil
	}
	return err
}

// tell does what --version and --help ask for, which is all that such a run does.
func (s *session) tell() error {
	if s.versionGiven {
		fmt.Fprintf(s.Stdout, "ipseckey %s\n", cmp.Or(s.Version, "of unknown version"))
		return nil
	}
	io.WriteString(s.Stdout, usageLines+ownUsageLines+"\n")
	s.help(nil)
	io.WriteString(s.Stdout, "\nOptions\n-------\n")
	for _, o := range optionTable {
		fmt.Fprintf(s.Stdout, "%s  %s\n", strings.TrimSpace(o.name+" "+o.value), o.text)
	}
	io.WriteString(s.Stdout, "\nThe manual page ipseckey(8) has the rest.\n")
	return nil
}

// needsSocket tells whether anything will be sent. The original opens its socket always.
func (s *session) needsSocket(rest []string) bool {
	if s.keeps(quirkCheckSends) || s.saveGiven {
		return true
	}
	if s.fileGiven {
		return !s.check
	}
	if len(rest) > 0 {
		c, _ := s.findCommand(rest[0])
		switch c.verb {
		case verbHelp, verbQuit, verbExplain, verbCompletion:
			return false
		}
	}
	return true
}

func (s *session) openSocket(ctx context.Context) error {
	if s.engine == "" && s.kernel != "" && !s.fromEnv() {
		s.engine = s.kernel + ":" + pfkey.DefaultPath(s.kernel)
	}
	conn, d, err := s.Dial(ctx, s.engine)
	switch {
	case err == nil && s.kernel != "" && d.Name != s.kernel:
		conn.Close()
		fmt.Fprintf(s.Stderr, "ipseckey: the engine is of %s, not of %s\n", d.Name, s.kernel)
		return s.fatal()
	case err == nil:
		s.conn, s.dial = conn, d
		return nil
	case errors.Is(err, pfkey.ErrNoEngine):
		fmt.Fprintf(s.Stderr, "ipseckey: %v\n", err)
		fmt.Fprint(s.Stderr,
			"ipseckey: start an engine with \"pfkeyd\", or name a running one with --engine or PFKEY_ENGINE\n")
		return &exit{ExitNoEngine}
	case errnoOf(err) == eperm:
		fmt.Fprint(s.errors(), "ipseckey: Insufficient privileges to open PF_KEY socket.\n\n")
		return s.exitWith(s.errors(), exitPermission)
	}
	if s.keeps(quirkErrorsOnStdout) {
		fmt.Fprint(s.Stdout, "ipseckey: Opening PF_KEY socket\n")
	} else {
		fmt.Fprintf(s.Stderr, "ipseckey: Opening PF_KEY socket: %s\n", errorText(err))
	}
	return s.fatal()
}

// fromEnv tells whether the environment names an engine.
func (s *session) fromEnv() bool {
	if s.Env == nil {
		return false
	}
	v, ok := s.Env(pfkey.EngineVariable)
	return ok && v != ""
}

// errors is the stream of the errors of commands.
func (s *session) errors() io.Writer {
	if s.keeps(quirkErrorsOnStdout) {
		return s.Stdout
	}
	return s.Stderr
}

// exitKind is why the program ends, for the service manager.
type exitKind int

const (
	exitFatal exitKind = iota
	exitBadConfig
	exitPermission
)

// exitWith prints the last line of a failed run and returns the error that ends it.
func (s *session) exitWith(w io.Writer, k exitKind) error {
	if !s.smf {
		fmt.Fprint(w, "ipseckey: Fatal error - exiting.\n")
		return &exit{ExitFailed}
	}
	switch k {
	case exitBadConfig:
		fmt.Fprintf(w, "ipseckey: Bad configuration of service %s.\n", s.fmri)
		return &exit{ExitBadConfig}
	case exitPermission:
		fmt.Fprintf(w, "ipseckey: Permission error with %s.\n", s.fmri)
		return &exit{ExitPermission}
	}
	fmt.Fprintf(w, "ipseckey: Service %s fatal error.\n", s.fmri)
	return &exit{ExitBadConfig}
}

// fatal ends the run after a failure that the command's own code found.
func (s *session) fatal() error { return s.exitWith(s.errors(), exitFatal) }

// bail reports a failed step of an exchange and ends what the mode says: the run, the command at the prompt, or in a
// file nothing at all if the original is kept, and the command if not.
func (s *session) bail(what string, err error) error {
	return s.bailErrno(what, errnoOf(err), err)
}

func (s *session) bailErrno(what string, errno int, err error) error {
	switch {
	case errno != 0:
		s.complain(fmt.Sprintf("ipseckey: %s: %s\n", what, strerror(errno)))
	case err != nil:
		s.complain(fmt.Sprintf("ipseckey: %s: %v\n", what, err))
	default:
		s.complain(fmt.Sprintf("ipseckey: Error: %s\n", what))
	}
	switch {
	case s.mode == modeFile && s.keeps(quirkErrnoIsSuccess):
		return nil
	case s.mode == modeFile || s.mode == modeLoop:
		return errAbandon
	case s.keeps(quirkBailExits1):
		fmt.Fprint(s.Stderr, "ipseckey: Fatal error - exiting.\n")
		return &exit{ExitFailed}
	}
	return s.exitWith(s.Stderr, exitFatal)
}

// stdio holds back what was printed, as the original's does when it is not a terminal: a crash loses it.
type stdio struct {
	w    io.Writer
	text []byte
}

func (o *stdio) Write(b []byte) (int, error) {
	o.text = append(o.text, b...)
	return len(b), nil
}

// sync passes on what was held back.
func (s *session) sync() {
	if o, ok := s.Stdout.(*stdio); ok {
		o.w.Write(o.text)
		o.text = o.text[:0]
	}
}

// crash is where the original ends with a segmentation fault.
func (s *session) crash() error { return &exit{ExitCrash} }

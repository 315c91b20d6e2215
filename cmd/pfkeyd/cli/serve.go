package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/internal/words"
	"github.com/pfkeyd/pfkeyd/control"
	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/hostile"
	"github.com/pfkeyd/pfkeyd/internal/station"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// stopPatience is how long the reader of a capture may take once the engine has stopped.
const stopPatience = 2 * time.Second

// serveFlags are the options of serve, which is also what the bare command does.
type serveFlags struct {
	engineFlags
	packets packetFlags
	ready   readyFlags // of serve only: a run waits for its engine itself
	socket  string
	hostile string
	session int // the descriptor of a session of the hand-over, whose end is the engine's; -1: none
	verbose bool
}

func (e *env) serve() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run an engine until it is interrupted",
		Long: `Serve runs the key engine of an operating system. Programs speak PF_KEY to it over
a Unix socket (SOCK_SEQPACKET, one message a datagram), by default in
$XDG_RUNTIME_DIR/pfkeyd. Beside the socket PATH lie the packet port PATH.packets,
into which ipsecinject sends IP packets, the control port PATH.control of
'pfkeyd status' and 'pfkeyd clock', and PATH.attach, through which
'pfkeyd run --engine' hands the sockets of programs over.

Security policies are no business of PF_KEY. With --policy the kernel takes them
from a file in the form of its own system, and outbound packets that they protect
make ACQUIREs. On Linux that is spdadd and spdupdate as in setkey(8), on illumos the form of
ipsecconf(8), with tunnels as dladm(8) makes them:

  dladm create-iptun -T ipv4 -a local=192.0.2.1,remote=192.0.2.2 ip.tun0
  {tunnel ip.tun0 negotiate tunnel} ipsec {encr_algs aes encr_auth_algs sha1}
  {raddr 192.0.2.2 ulp udp rport 9} ipsec {auth_algs sha256} or ipsec {encr_algs aes}

With --tun the emulated host joins this machine's network: a packet that is routed
into the TUN device goes out through the engine, and what the engine delivers comes
out of it. With --tun-wire its other side, ESP and AH, has a device of its own; else
it is the same one, and what is for an own address (--addr) comes in, all else goes
out. Both take packets of the packet port as well. The devices are made if need
be, which takes root; bringing them up, addresses and routes are left to ip(8):

  pfkeyd serve --kernel linux --addr 192.0.2.1 --policy FILE --tun host0 --tun-wire wire0
  ip link set host0 up && ip route add 10.2.0.0/24 dev host0
  ip link set wire0 up && ip route add 192.0.2.1 dev wire0

--pcap writes a pcapng file of every packet on its way in and on its way out, with
the two sides as interfaces, wire and host, and a third, dropped, that has the
reasons. tcpdump and Wireshark read it, and 'ipsecinject pcap' injects what came in,
once more. It may be a pipe:

  pfkeyd serve --pcap >(wireshark -k -i -)

When everything is ready it prints one line with the engine's address, and then
serves until SIGINT or SIGTERM. Packets that still wait on an SA then end with
the reason "shutdown". Who has started it can wait for that line, for the address
on the descriptor of --ready-fd, or with 'pfkeyd status --wait'. A service manager
that has set NOTIFY_SOCKET is told (systemd: Type=notify).`,
		Example: `  pfkeyd serve --kernel illumos --addr 192.0.2.1 --clock virtual
  pfkeyd serve --socket /tmp/e.sock -o ipsecesp:larval_timeout=30
  pfkeyd serve --ready-fd 3 3>ready`,
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.runServe(cmd, &f) },
	}
	f.flags(cmd)
	f.ready.register(cmd)
	return cmd
}

func (f *serveFlags) flags(cmd *cobra.Command) {
	f.engineFlags.register(cmd)
	f.packets.register(cmd)
	f.session = -1
	cmd.Flags().StringVar(&f.hostile, "hostile", "", "spoil messages as the script `FILE` says, to see what programs make of a lying kernel")
	cmd.Flags().IntVar(&f.session, "session", -1, "descriptor of the session with the run whose engine this is")
	_ = cmd.Flags().MarkHidden("session") // there is such a flag
	cmd.Flags().StringVar(&f.socket, "socket", "", "`PATH` of the PF_KEY socket (default: KERNEL.sock in the default directory)")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log connections and what goes wrong with them, to standard error")
}

func (e *env) runServe(cmd *cobra.Command, f *serveFlags) error {
	ctx := cmd.Context()
	if err := f.ready.check(cmd); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	if f.verbose {
		log = slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	eng, err := f.start(log)
	if err != nil {
		return err
	}
	path := f.socket
	if path == "" {
		path = pfkey.DefaultPath(eng.Name())
	}
	liar, err := f.liar(eng)
	if err != nil {
		return err
	}
	if err := f.packets.check(); err != nil {
		return err
	}
	f.packets.stderr = e.stderr
	s, err := station.Listen(eng, path)
	if err != nil {
		return command.Failed(err)
	}
	address := pfkey.Address{Kernel: eng.Name(), Path: path}
	fmt.Fprintf(e.stdout, "pfkeyd: %s is ready at %s\n", eng.Name(), address)
	if f.session >= 0 {
		file := os.NewFile(uintptr(f.session), "session")
		if s.session, err = net.FileConn(file); err != nil {
			s.closeListeners()
			s.ways.close(ctx)
			return command.Failed(fmt.Errorf("--session %d: %w", f.session, err))
		}
		file.Close()
	} else if err := f.ready.tell(address); err != nil {
		e.sayf("nobody was told that the engine is ready: %s", words.Text(err))
	}
	o := station.Options{Packets: ways.target, Log: log, Counters: map[string]func() any{}, Stopping: ways.stop}
	ways.addCounters(o.Counters)
	if liar != nil {
		o.Front = liar
		o.Counters["hostile"] = func() any { return liar.Counters() }
	}
	fmt.Fprintf(e.stdout, "pfkeyd: %s is ready at %s\n", eng.Name(), s.Address())
	if f.session >= 0 {
		if o.Session, err = sessionOf(f.session); err != nil {
			s.Close()
			ways.close(ctx)
			return command.Failed(err)
		}
	}
	if err := serveWays(ctx, s, o, ways); err != nil {
		return command.Failed(err)
	}
	return nil
}

// sessionOf is the session of a descriptor that the run has left to this process.
func sessionOf(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "session")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("--session %d: %w", fd, err)
	}
	return c, nil
}

// serveWays runs the station, with the packets' ways into it and out of it.
func serveWays(ctx context.Context, s *station.Station, o station.Options, ways *packetWays) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 2) // of the two devices there can be
	ways.start(func(err error) {
		failed <- err
		cancel()
	})
	err := s.Run(ctx, o)
	stop, done := context.WithTimeout(context.Background(), stopPatience)
	defer done()
	err = errors.Join(err, ways.close(stop))
	select {
	case first := <-failed:
		err = first
	default:
	}
	return err
}

// liar reads the script of a lying kernel, nil if there is none.
func (f *serveFlags) liar(eng *engine.Engine) (*hostile.Kernel, error) {
	if f.hostile == "" {
		return nil, nil
	}
	file, err := os.Open(f.hostile)
	if err != nil {
		return nil, command.Usagef("--hostile: %w", err)
	}
	defer file.Close()
	script, err := hostile.Parse(file, eng.Dialect())
	if err != nil {
		return nil, command.Usagef("--hostile %s: %w", f.hostile, err)
	}
	return hostile.New(eng, script), nil
}

// station is an engine with all that stands in front of it: PF_KEY sockets, packet port, control port, and the clock that wakes it.
type station struct {
	engine  *engine.Engine
	front   pfkey.Engine // the engine, or what stands in front of it
	sockets *pfkey.Server
	packets *packetport.Server
	ways    *packetWays
	control *control.Server
	desk    *launch.Desk

	socketListener, packetListener, controlListener, attachListener net.Listener

	session net.Conn // nil, or that of the run whose engine this is: it stops when that is over
}

// openStation makes the sockets and everything behind them; nothing is served yet. liar may be nil.
func openStation(eng *engine.Engine, liar *hostile.Kernel, path string, packets *packetFlags, log *slog.Logger) (_ *station, err error) {
	s := &station{engine: eng, front: eng}
	if liar != nil {
		s.front = liar
	}
	defer func() {
		if err != nil {
			s.closeListeners()
		}
	}()
	l, err := pfkey.Listen(path)
	if err != nil {
		return nil, err
	}
	s.socketListener = l
	// The PF_KEY socket is ours from here on, and what lies beside it with it.
	pl, err := pfkey.Listen(packetport.Path(path))
	if err != nil {
		return nil, err
	}
	s.packetListener = pl
	if s.controlListener, err = control.Listen(control.Path(path)); err != nil {
		return nil, err
	}
	if s.attachListener, err = pfkey.Listen(launch.AttachPath(path)); err != nil {
		return nil, err
	}
	if s.ways, err = packets.open(eng); err != nil {
		return nil, err
	}
	s.sockets = pfkey.NewServer(s.front, pfkey.ServerOptions{Log: log})
	s.desk = launch.NewDesk(s.sockets, launch.DeskOptions{
		Address: pfkey.Address{Kernel: eng.Name(), Path: path}.String(),
		Check:   pfkey.CheckPeer,
		Log:     log,
		Traced:  func(r launch.TraceRequest) (*pfkey.Server, func(), error) { return s.traced(r, log) },
	})
	s.packets = packetport.NewServer(s.ways.target, packetport.Options{Name: eng.Name(), Check: pfkey.CheckPeer, Log: log})
	servers := map[string]func() any{
		"pfkey":   func() any { return s.sockets.Counters() },
		"packets": func() any { return s.packets.Stats() },
		"attach":  func() any { return s.desk.Counters() },
	}
	if liar != nil {
		servers["hostile"] = func() any { return liar.Counters() }
	}
	s.ways.addCounters(servers)
	s.control = control.NewServer(eng, control.Options{Check: pfkey.CheckPeer, Log: log, Servers: servers})
	return s, nil
}

func (s *station) closeListeners() {
	for _, l := range []net.Listener{s.socketListener, s.packetListener, s.controlListener, s.attachListener} {
		if l != nil {
			l.Close()
		}
	}
}

// run serves until ctx ends or one of the servers fails, and then stops in order: nothing new comes in, what is under way is finished,
// packets that wait end, and their verdicts still reach those who sent them.
func (s *station) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving, ticking sync.WaitGroup
	errs := make(chan error, 6)
	serve := func(f func(context.Context, net.Listener) error, l net.Listener) {
		serving.Go(func() {
			// A server is stopped by its Shutdown below, not by ctx.
			if err := f(context.Background(), l); err != nil {
				errs <- err
				cancel()
			}
		})
	}
	serve(s.sockets.Serve, s.socketListener)
	serve(s.packets.Serve, s.packetListener)
	serve(s.control.Serve, s.controlListener)
	serve(s.desk.Serve, s.attachListener)
	if s.session != nil {
		serving.Go(func() {
			s.desk.ServeConn(s.session)
			cancel()
		})
	}
	ticking.Go(func() { s.tick(ctx) })
	s.ways.start(func(err error) {
		errs <- err
		cancel()
	})
	<-ctx.Done()
	if s.session == nil {
		_ = notify("STOPPING=1") // it would have been said at the start that nobody hears it
	}

	stop, done := context.WithTimeout(context.Background(), stopPatience)
	defer done()
	s.packets.Stop(stop)
	s.ways.stop()
	// Who ran programs sees that this is the end, and keeps their ends for a successor.
	s.desk.Close()
	err := s.sockets.Shutdown(stop)
	ticking.Wait()
	s.engine.Close()
	err = errors.Join(err, s.packets.Shutdown(stop), s.control.Shutdown(stop))
	s.sockets.Close()
	serving.Wait()
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // somebody did not read; it is not worth an exit code
	}
	err = errors.Join(err, s.ways.close(stop))
	select {
	case first := <-errs:
		err = first
	default:
	}
	return err
}

// traced makes a server in front of the same engine whose messages are written to a file that somebody handed over.
func (s *station) traced(r launch.TraceRequest, log *slog.Logger) (*pfkey.Server, func(), error) {
	t := trace.New(s.front, r.File, trace.Options{
		Pcapng: r.Format == launch.TracePcapng, ShowKeys: r.ShowKeys, Now: s.engine.Now,
	})
	if err := t.Err(); err != nil {
		return nil, nil, err
	}
	server := pfkey.NewServer(t, pfkey.ServerOptions{Log: log})
	return server, func() {
		server.Close()
		if err := t.Err(); err != nil {
			log.Error("the trace is not complete", "err", err)
		}
		r.File.Close()
	}, nil
}

// tick tells an engine on the machine's clock when something is due.
func (s *station) tick(ctx context.Context) {
	if s.engine.Virtual() {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.engine.Wake():
		case <-timer.C:
			s.engine.Advance(time.Now())
		}
		if next, ok := s.engine.Next(); ok {
			timer.Reset(max(time.Until(next), 0))
		}
	}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/internal/words"
	"github.com/pfkeyd/pfkeyd/hostile"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
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

With --policy the kernel takes security policies from a file, in the form of its own
system. Outbound packets that a policy protects then make ACQUIREs. On Linux, NetBSD
and FreeBSD the form is spdadd and spdupdate as in setkey(8); on OpenBSD it is flow as
in ipsec.conf(5):

  flow esp from 10.0.0.0/8 to 10.1.0.0/16 local 192.0.2.1 peer 192.0.2.2

On illumos it is that of ipsecconf(8), with tunnels as dladm(8) makes them:

  dladm create-iptun -T ipv4 -a local=192.0.2.1,remote=192.0.2.2 ip.tun0
  {tunnel ip.tun0 negotiate tunnel} ipsec {encr_algs aes encr_auth_algs sha1}
  {raddr 192.0.2.2 ulp udp rport 9} ipsec {auth_algs sha256}

With --tun the emulated host joins this machine's network. A packet that is routed
into the TUN device goes out through the engine, and what the engine delivers comes
out of the device. --tun-wire gives the protected side, ESP and AH, a device of its
own. Without it one device serves both: packets to an own address (--addr) come in,
all others go out. The packet port works beside them. Serve makes the devices if they
are not there, which takes root. You bring them up, and set addresses and routes,
with ip(8):

  pfkeyd serve --kernel linux --addr 192.0.2.1 --policy FILE \
      --tun host0 --tun-wire wire0
  ip link set host0 up && ip route add 10.2.0.0/24 dev host0
  ip link set wire0 up && ip route add 192.0.2.1 dev wire0

--pcap writes every packet on its way in and on its way out into a pcapng file. The
two sides are its interfaces, wire and host; a third one, dropped, has the reasons.
tcpdump and Wireshark read the file, and 'ipsecinject pcap' injects once more what
came in. It may be a pipe:

  pfkeyd serve --pcap >(wireshark -k -i -)

--kernel xfrm emulates no kernel: the SAs, the policies and the packets are those of
this machine's own Linux, which serve reaches by NETLINK_XFRM. It needs CAP_NET_ADMIN,
and whoever may connect administers IPsec. Its options are aead=1, which offers
AES-CCM, AES-GCM and GMAC, and sha256=128 for the truncation of RFC 4868.

When the engine is ready, serve prints one line with its address. It serves until
SIGINT or SIGTERM; packets that still wait on an SA then end with the reason
"shutdown". To wait until the engine is ready, wait for that line, for the address
on the descriptor of --ready-fd, or with 'pfkeyd status --wait'. Serve also tells a
service manager that has set NOTIFY_SOCKET (systemd: Type=notify).`,
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
	cmd.Flags().StringVar(&f.hostile, "hostile", "",
		"spoil messages as the script `FILE` says, to see what programs make of a lying kernel")
	cmd.Flags().IntVar(&f.session, "session", -1, "descriptor of the session with the run whose engine this is")
	_ = cmd.Flags().MarkHidden("session") // there is such a flag
	cmd.Flags().StringVar(&f.socket, "socket", "",
		"`PATH` of the PF_KEY socket (default: KERNEL.sock in the default directory)")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false,
		"log connections and what goes wrong with them, to standard error")
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
	if err := f.packets.checkOwn(f.kernel); err != nil {
		return err
	}
	eng, err := f.start(ctx, log)
	if err != nil {
		return err
	}
	path := f.socket
	if path == "" {
		path = pfkey.DefaultPath(eng.Name())
	}
	liar, err := f.liar(ctx, eng)
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
	ways, err := f.packets.open(ctx, eng)
	if err != nil {
		s.Close()
		return command.Failed(err)
	}
	o := station.Options{
		Packets: ways.target, Log: log, Counters: map[string]func() any{},
		Stopping: func() { f.stopping(); ways.stop() },
	}
	ways.addCounters(o.Counters)
	if liar != nil {
		o.Front = liar
		o.Counters["hostile"] = func() any { return liar.Counters() }
	}
	if lacks := kernels.Lacks(eng); lacks != nil {
		e.sayf("this machine's kernel has not: %s", strings.Join(lacks, ", "))
	}
	fmt.Fprintf(e.stdout, "pfkeyd: %s is ready at %s\n", eng.Name(), s.Address())
	if f.session >= 0 {
		if o.Session, err = sessionOf(f.session); err != nil {
			s.Close()
			ways.close(ctx)
			return command.Failed(err)
		}
	} else if err := f.ready.tell(s.Address()); err != nil {
		e.sayf("nobody was told that the engine is ready: %s", words.Text(err))
	}
	if err := serveWays(ctx, s, o, ways); err != nil {
		return command.Failed(err)
	}
	return nil
}

// stopping tells the service manager that the engine stops. The engine of a run is nobody's service.
func (f *serveFlags) stopping() {
	if f.session < 0 {
		_ = notify("STOPPING=1") // it would have been said at the start that nobody hears it
	}
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

// maxScript bounds the script of a lying kernel, in bytes.
const maxScript = 1 << 20

// liar reads the script of a lying kernel, nil if there is none.
func (f *serveFlags) liar(ctx context.Context, eng *engine.Engine) (*hostile.Kernel, error) {
	if f.hostile == "" {
		return nil, nil
	}
	file, err := files.Open(ctx, f.hostile)
	if err != nil {
		return nil, command.Unreadable(fmt.Errorf("--hostile: %w", err))
	}
	defer file.Close()
	script, err := hostile.Parse(files.AtMost(file, maxScript), eng.Dialect())
	if err != nil {
		return nil, command.Unreadable(fmt.Errorf("--hostile %s: %w", f.hostile, err))
	}
	return hostile.New(eng, script), nil
}

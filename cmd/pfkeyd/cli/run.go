package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// runKernel is what most programs that people have speak to.
const runKernel = "linux"

// The exit codes for a program that could not be started, as those of a shell and of env(1).
const (
	exitCannotExec = 126
	exitNotFound   = 127
)

// runFlags are the options of run.
type runFlags struct {
	serve     serveFlags // of an engine of its own
	engine    string
	trace     string
	showKeys  bool
	live      bool
	launch    launch.Options
	hosted    bool
	engineArg []string // the options in serve as they were given, for the engine's process
}

func (e *env) run() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] [--] COMMAND [ARGUMENT...]",
		Short: "Run a program so that its PF_KEY sockets reach an emulated kernel",
		Long: `Run starts a program, unmodified and without privilege. The AF_KEY sockets that
the program and everything it starts open are those of an emulated kernel. Run
starts an engine for them, a process that lives as long as the programs; options
of 'pfkeyd serve' say what that engine is like. With --engine the sockets are
those of an engine that runs already ('pfkeyd serve'), which several programs may
share.

--trace writes a record of every message, with the time of the engine's clock and,
if that is virtual, the machine's time beside it. The trace holds nobody up: what
comes faster than it can be written is left out. The trace says where, and its last
line says how much. Run says so too, and ends with 1 if the program ended with 0.

--live shows what programs and the kernel do as a page in a browser, as 'pfkeyd live'
does. When the last process is gone the page and the engine stay until Ctrl-C, unless
SIGTERM or SIGQUIT has ended the program. Ctrl-C before that is for the program.

Programs find the engine's address in the environment variable PFKEY_ENGINE, so
'pfkeyd status' and ipseckey work inside the program. They find the engine from
outside too: it lies beside that of 'pfkeyd serve', under the name of the program.

When the program's send returns, the kernel has handled the message: the answer lies
in the socket, however the program looks for it, and what the kernel refuses fails
the send. For that, run stops every call that sends, writes or opens a file, and
each takes about 10 microseconds longer. --no-gate switches that off.

A program that was made for another system and compiled on this one, with the headers of
'pfkeyd headers', has this machine's socket addresses in its messages. With --hosted its
sockets take and give them: in a copy of each message, the addresses and errno numbers
are translated. The engine, its ports and the trace have the kernel's own.

SIGINT, SIGQUIT and SIGTERM reach every process under run, also one that loses its
parent later. SIGHUP, SIGUSR1 and SIGUSR2 reach the program and the daemons that it
has left behind. A terminal sends what you type to the processes in its foreground
by itself. The exit code is that of the program: 128 and the number of the signal if
one killed it, 126 or 127 if it could not be started. Run serves daemons that fork
away, and waits until the last process is gone. If run itself is killed, the
programs are killed as well.

If the engine dies, a new engine takes over the sockets, with their registrations
and options. Programs see a kernel that has lost its databases.

Only PF_KEY is emulated. NETLINK_XFRM, which strongSwan's kernel-netlink uses,
reaches this machine's own kernel.

With --kernel xfrm PF_KEY does, too, and its databases stay when the engine dies. A
program needs CAP_NET_ADMIN then, and what it asks for its own sockets is done:
policies (IP_IPSEC_POLICY, by way of IP_XFRM_POLICY) and UDP_ENCAP.

Run needs Linux 5.19 on amd64 or arm64, /proc, and no other seccomp supervisor around
it. Without privilege, set-uid programs inside of it run without theirs, and programs
cannot hide their memory (PR_SET_DUMPABLE).`,
		Example: `  pfkeyd run --trace trace.txt -- python3 your_program.py
  pfkeyd run --trace iked.txt --addr 192.0.2.1 -- iked -d
  pfkeyd run --kernel xfrm -- iked -d
  pfkeyd run --live -- iked -d
  pfkeyd run --engine linux:/run/user/1000/pfkeyd/linux.sock -- sh`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return command.Usagef("run: which program?")
			}
			if err := f.check(cmd); err != nil {
				return err
			}
			return e.runProgram(cmd.Context(), &f, args)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the program's name is its own
	f.serve.flags(cmd)
	kernelFlag := flags.Lookup("kernel")
	if slices.Contains(kernels.Names(), runKernel) {
		f.serve.kernel, kernelFlag.DefValue = runKernel, runKernel
	}
	flags.StringVar(&f.engine, "engine", "", "`ADDRESS` of a running engine, KERNEL:PATH")
	completeEngine(cmd)
	flags.StringVar(&f.trace, "trace", "",
		"write every message both ways into `FILE`, \"-\" for standard output: "+
			"pcapng if its name ends so, else text; key bytes are zero")
	flags.BoolVar(&f.showKeys, "show-keys", false, "write key bytes into the trace")
	flags.BoolVar(&f.live, "live", false, "show what happens as a page in a browser, and keep that at the end")
	flags.BoolVar(&f.hosted, "hosted", false,
		"have this machine's socket addresses and errno numbers in the programs' messages, for those of another system")
	flags.BoolVar(&f.launch.NoGate, "no-gate", false,
		"stop no call that sends, writes or opens a file: "+
			"faster, but answers and errors come late, and some programs fail")
	flags.BoolVar(&f.launch.UDPEncap, "udp-encap", false,
		"have the socket option UDP_ENCAP succeed without effect, so that the engine sees ESP in UDP")
	flags.BoolVar(&f.launch.Identity, "fake-ids", false,
		"have setuid, setgid, setgroups and their kin succeed without effect, for daemons in a user namespace with one user")
	return cmd
}

// check looks at what goes together, and keeps the options of an engine of its own.
func (f *runFlags) check(cmd *cobra.Command) error {
	if f.showKeys && f.trace == "" {
		return command.Usagef("--show-keys is about --trace")
	}
	own := &cobra.Command{}
	new(serveFlags).flags(own)
	var foreign []string
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if own.Flags().Lookup(flag.Name) == nil || flag.Name == "session" {
			return
		}
		foreign = append(foreign, "--"+flag.Name)
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				f.engineArg = append(f.engineArg, "--"+flag.Name+"="+v)
			}
			return
		}
		f.engineArg = append(f.engineArg, "--"+flag.Name+"="+flag.Value.String())
	})
	if f.engine == "" {
		return f.checkKernel(f.serve.kernel)
	}
	foreign = slices.DeleteFunc(foreign, func(name string) bool { return name == "--verbose" })
	if len(foreign) > 0 {
		return command.Usagef("%s: with --engine the engine is what it is; give it to 'pfkeyd serve'",
			strings.Join(foreign, " "))
	}
	a, err := command.Engine(f.engine)
	if err != nil {
		return err
	}
	if a.Kernel == pfkey.HostKernel {
		return command.Usagef("%s: the host's own kernel needs no run", a)
	}
	return f.checkKernel(a.Kernel)
}

// checkKernel looks at what the engine's kernel has to do with the programs.
func (f *runFlags) checkKernel(kernel string) error {
	if kernels.Own(kernel) {
		if f.launch.UDPEncap {
			return command.Usagef("--udp-encap: kernel %s takes ESP out of UDP itself, and must hear of it", kernel)
		}
		f.launch.Own = &launch.OwnKernel{SocketPolicy: kernels.SocketPolicy}
	}
	return f.checkHosted(kernel)
}

// checkHosted says whether the kernel's messages can be those of programs of this machine.
func (f *runFlags) checkHosted(kernel string) error {
	d, ok := wire.ByName(kernel)
	if !f.hosted || !ok { // one that is unknown is another's to complain about
		return nil
	}
	if _, err := wire.NewHosting(d, wire.Linux()); err != nil {
		return command.Usagef("--hosted: %w", err)
	}
	return nil
}

// traceRequest says what the ending of the trace's name asks for.
func (f *runFlags) traceRequest() launch.TraceRequest {
	r := launch.TraceRequest{Format: launch.TraceText, ShowKeys: f.showKeys}
	if strings.HasSuffix(f.trace, ".pcapng") {
		r.Format = launch.TracePcapng
	}
	return r
}

func (e *env) sayf(format string, a ...any) { fmt.Fprintf(e.stderr, "pfkeyd: "+format+"\n", a...) }

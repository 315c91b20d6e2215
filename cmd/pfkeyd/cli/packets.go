package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/packetport"
)

// packetFlags say which ways packets have into an engine and out of it beside the packet port, and who looks on.
type packetFlags struct {
	tun    tunFlags
	pcap   string
	stderr io.Writer // hears at once that a capture ends early
}

func (f *packetFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.tun.host, "tun", "",
		"TUN device `NAME` of the plain side; NAME=TUNNEL: it is that tunnel interface of the emulated host")
	flags.StringVar(&f.tun.wire, "tun-wire", "", "TUN device `NAME` of the protected side (default: that of --tun)")
	flags.StringVar(&f.pcap, "pcap", "", "write every packet into the pcapng `FILE`")
}

func (f *packetFlags) check() error { return f.tun.check() }

// checkOwn refuses ways for packets to a kernel that is this machine's own.
func (f *packetFlags) checkOwn(kernel string) error {
	if kernels.Own(kernel) && (f.tun != tunFlags{} || f.pcap != "") {
		return command.Usagef("--tun, --tun-wire, --pcap: the packets of kernel %s are this machine's; see ip(8) and "+
			"tcpdump(8)", kernel)
	}
	return nil
}

// packetWays are those ways, open.
type packetWays struct {
	target packetport.Target // where packets go in
	pcap   *packetPcap       // nil: nobody looks on
	tun    *tunLink          // nil: no devices
}

// open opens files and devices; it waits for the reader of a pipe until ctx ends. Nothing moves before start.
func (f *packetFlags) open(ctx context.Context, eng *engine.Engine) (_ *packetWays, err error) {
	w := &packetWays{target: eng}
	if f.pcap != "" {
		failed := func(err error) {
			fmt.Fprintf(f.stderr, "pfkeyd: --pcap: %v; nothing more is written there\n", err)
		}
		if w.pcap, err = newPacketPcap(ctx, f.pcap, eng, eng.Name(), eng.Now, failed); err != nil {
			return nil, fmt.Errorf("--pcap: %w", err)
		}
		w.target = w.pcap
	}
	if w.tun, err = f.tun.open(w.target, eng.Host().Own); err != nil {
		w.close(context.Background())
		return nil, err
	}
	return w, nil
}

// start lets packets move. failed hears that there is no going on.
func (w *packetWays) start(failed func(error)) {
	if w.tun != nil {
		w.tun.start(failed)
	}
}

// stop lets nothing more in. What the engine gives out still goes its way.
func (w *packetWays) stop() {
	if w.tun != nil {
		w.tun.stop()
	}
}

// close ends everything. The error says that a capture is not complete, because its reader was slower than ctx, or for
// other reasons.
func (w *packetWays) close(ctx context.Context) (err error) {
	if w.tun != nil {
		w.tun.close()
	}
	if w.pcap != nil {
		if err = w.pcap.close(ctx); err != nil {
			err = fmt.Errorf("--pcap: %w", err)
		}
	}
	return err
}

func (w *packetWays) addCounters(servers map[string]func() any) {
	if w.tun != nil {
		servers["tun"] = w.tun.Counters
	}
	if w.pcap != nil {
		servers["pcap"] = w.pcap.Counters
	}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

type benchFlags struct {
	inProcess bool
	kernel    string
	src, dst  string
	suite     string
	spi       uint32
	sizes     []int
	sas       int
	cores     int
	rate      float64
	time      time.Duration
}

// benchSuite is a suite under the names that every kernel has for its algorithms, and with an ICV that every kernel
// gives it.
type benchSuite struct {
	name, auth, encrypt string // auth is empty for a combined cipher
	cipher              *ipsec.Cipher
	keyLen              int // bytes, without salt
	mac                 *ipsec.MAC
}

var (
	benchKey = []byte("ipsecinject bench, a key of nobody's, which is as long as the longest of them")
	// benchList begins with what one would choose: the first that a kernel has is the default.
	benchList = []benchSuite{
		{"aes-gcm", "", "aes-gcm16", ipsec.AESGCM, 16, nil},
		{"aes-cbc-hmac-sha1", "hmac-sha1", "aes-cbc", ipsec.AESCBC, 16, ipsec.HMACSHA1},
		{"aes-cbc-hmac-sha384", "hmac-sha384", "aes-cbc", ipsec.AESCBC, 32, ipsec.HMACSHA384},
		{"aes-cbc-hmac-sha512", "hmac-sha512", "aes-cbc", ipsec.AESCBC, 32, ipsec.HMACSHA512},
		{"aes-ccm", "", "aes-ccm16", ipsec.AESCCM, 16, nil},
		{"aes-ctr-hmac-sha1", "hmac-sha1", "aes-ctr", ipsec.AESCTR, 16, ipsec.HMACSHA1},
		{"camellia-cbc-hmac-sha1", "hmac-sha1", "camellia-cbc", ipsec.CamelliaCBC, 16, ipsec.HMACSHA1},
		{"3des-cbc-hmac-sha1", "hmac-sha1", "3des-cbc", ipsec.TripleDES, 24, ipsec.HMACSHA1},
		{"3des-cbc-hmac-md5", "hmac-md5", "3des-cbc", ipsec.TripleDES, 24, ipsec.HMACMD5},
	}
)

// suite is what packets are made with.
func (s *benchSuite) suite() *ipsec.Suite {
	salt := benchKey[s.keyLen : s.keyLen+s.cipher.SaltLen]
	suite := &ipsec.Suite{Proto: ipsec.ESP, Cipher: s.cipher, Key: ipsec.NewKey(benchKey[:s.keyLen]),
		Salt: ipsec.NewKey(salt)}
	if s.mac != nil {
		suite.MAC, suite.AuthKey = s.mac, ipsec.NewKey(benchKey[:s.mac.KeyLen])
	}
	return suite
}

func benchNames(list []benchSuite) (names []string) {
	for _, s := range list {
		names = append(names, s.name)
	}
	return names
}

// listSuites is the value of --suite that asks what there is.
const listSuites = "list"

func (e *env) benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast an engine takes packets, and how long each takes",
		Long: `bench adds SAs, sends ESP packets for them, and prints how many were answered
per second and how long a packet took from being sent to its final verdict.

Packets go through the packet port of a running engine, over one connection for
each of --cores; with --in-process straight into an engine of bench's own. With
--rate they are sent at that rate, and time counts from when a packet was to be
sent, so that one that had to wait is not forgotten; without it as fast as they
are answered. The SAs have no replay window. They are deleted at the end.

Kernels do not have the same algorithms: '--suite list' prints what there is.

Exit status: 0 done; 1 refused or failed, or a packet was not delivered; 2 usage;
3 no engine at the address.`,
		Example: `  ipsecinject bench --dst 192.0.2.1
  ipsecinject bench --in-process --sizes 64,1400 --sas 100000 --cores 2
  ipsecinject bench --rate 20000 --time 10s --json`,
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.bench(cmd.Context(), &f) },
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.inProcess, "in-process", false, "an engine in this process, without sockets")
	fl.StringVar(&f.kernel, "kernel", "illumos", "`NAME` of the kernel of --in-process")
	fl.StringVar(&f.src, "src", "192.0.2.2", "source `ADDRESS`")
	fl.StringVar(&f.dst, "dst", "192.0.2.1", "destination `ADDRESS`, the engine's own")
	fl.StringVar(&f.suite, "suite", "",
		"`SUITE` of the SAs; list: prints those that the kernel has, of which the first is the default")
	fl.Uint32Var(&f.spi, "spi", 0x10000, "`SPI` of the first SA")
	fl.IntSliceVar(&f.sizes, "sizes", []int{64, 1400}, "`BYTES` of UDP datagram in each packet")
	fl.IntVar(&f.sas, "sas", 100, "`NUMBER` of SAs")
	fl.IntVar(&f.cores, "cores", 1, "`NUMBER` of senders at the same time")
	fl.Float64Var(&f.rate, "rate", 0, "`PACKETS` per second, of all senders; 0: as fast as they are answered")
	fl.DurationVar(&f.time, "time", 2*time.Second, "how long for each size")
	command.Complete(cmd, "suite", append([]string{listSuites}, benchNames(benchList)...)...)
	command.Complete(cmd, "kernel", kernels.Names()...)
	return cmd
}

// benchResult is a line of the table.
type benchResult struct {
	Size    int     `json:"size"`
	SAs     int     `json:"sas"`
	Cores   int     `json:"cores"`
	Rate    float64 `json:"rate"` // asked for
	Packets int64   `json:"packets"`
	Wrong   int64   `json:"wrong"` // not delivered
	PerSec  float64 `json:"packets_per_second"`
	Mbit    float64 `json:"mbit_per_second"` // of datagrams
	P50     int64   `json:"p50_ns"`
	P90     int64   `json:"p90_ns"`
	P99     int64   `json:"p99_ns"`
	P999    int64   `json:"p999_ns"`
	Max     int64   `json:"max_ns"`
}

func (e *env) bench(ctx context.Context, f *benchFlags) error {
	src, errSrc := netip.ParseAddr(f.src)
	dst, errDst := netip.ParseAddr(f.dst)
	switch {
	case f.suite != "" && f.suite != listSuites && !slices.Contains(benchNames(benchList), f.suite):
		return command.Usagef("--suite %q is none of %s", f.suite, strings.Join(benchNames(benchList), ", "))
	case errSrc != nil || errDst != nil:
		return command.Usagef("%w", errors.Join(errSrc, errDst))
	case !src.Is4() || !dst.Is4():
		return command.Usagef("--src and --dst are IPv4 addresses here")
	case f.sas < 1 || f.cores < 1 || f.cores > 64 || f.rate < 0 || f.time <= 0:
		return command.Usagef("--sas, --cores (at most 64) and --time are more than nothing, --rate is not less")
	case slices.ContainsFunc(f.sizes, func(n int) bool { return n < 8 || n > 16000 }):
		return command.Usagef("--sizes are from 8 to 16000 bytes")
	}
	b := &bencher{e: e, f: f, src: src, dst: dst}
	if err := b.connect(ctx); err != nil {
		return err
	}
	defer b.close()
	there, err := b.suites(ctx)
	if err != nil {
		return err
	}
	if f.suite == listSuites {
		return e.printSuites(there)
	}
	if err := b.choose(there); err != nil {
		return err
	}
	if err := b.addSAs(ctx); err != nil {
		return err
	}
	defer b.deleteSAs()
	if !e.json {
		fmt.Fprintf(e.stdout, "%6s %8s %5s %11s %9s %9s %9s %9s %9s\n", "bytes", "SAs", "cores", "packets/s", "Mbit/s",
			"p50", "p90", "p99", "p99.9")
	}
	wrong := int64(0)
	for _, size := range f.sizes {
		res, err := b.run(ctx, size)
		if err != nil {
			return err
		}
		wrong += res.Wrong
		if e.json {
			if err := e.printJSON(res); err != nil {
				return err
			}
			continue
		}
		ns := func(n int64) string { return round(time.Duration(n)).String() }
		fmt.Fprintf(e.stdout, "%6d %8d %5d %11.0f %9.1f %9s %9s %9s %9s\n", size, res.SAs, res.Cores, res.PerSec,
			res.Mbit,
			ns(res.P50), ns(res.P90), ns(res.P99), ns(res.P999))
	}
	if wrong > 0 {
		return command.Failed(fmt.Errorf("%d packets were not delivered", wrong))
	}
	return nil
}

// round leaves three digits.
func round(d time.Duration) time.Duration {
	for unit := time.Duration(1); ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit)
		}
	}
}

// bencher is a run with its engine.
type bencher struct {
	e        *env
	f        *benchFlags
	suite    *benchSuite
	src, dst netip.Addr
	keys     *pfkey.Client
	address  string               // of a running engine
	own      *engine.Engine       // of --in-process
	wires    []*packetport.Client // else, one for each core
	added    int
}

func (b *bencher) connect(ctx context.Context) error {
	if b.f.inProcess {
		var err error
		if b.own, err = kernels.New(b.f.kernel, engine.Options{Addrs: []netip.Addr{b.dst},
			Clock: time.Now}); err != nil {
			return command.Usagef("--kernel: %w", err)
		}
		b.keys, err = b.dialKeys(ctx)
		return err
	}
	for range b.f.cores {
		c, a, err := b.e.dial(ctx)
		if err != nil {
			b.close()
			return err
		}
		b.wires = append(b.wires, c)
		b.address = a.String()
	}
	var err error
	if b.keys, err = b.dialKeys(ctx); err != nil {
		b.close()
	}
	return err
}

// dialKeys opens a PF_KEY socket of the engine.
func (b *bencher) dialKeys(ctx context.Context) (*pfkey.Client, error) {
	if b.own == nil {
		c, err := pfkey.Dial(ctx, b.address)
		if err != nil {
			return nil, command.Failed(err)
		}
		return c, nil
	}
	cred := pfkey.Cred{PID: 1, Privileged: true}
	sock, errno := b.own.Open(cred, 3, wire.Version) // SOCK_RAW
	if errno != wire.OK {
		return nil, command.Failed(fmt.Errorf("a socket of our own engine: %v", errno))
	}
	return pfkey.NewClientOn(sock, b.own.Dialect(), cred), nil
}

func (b *bencher) close() {
	if b.keys != nil {
		b.keys.Close()
	}
	for _, c := range b.wires {
		c.Close()
	}
	if b.own != nil {
		b.own.Close()
	}
}

// suites are those of the list whose algorithms the kernel names when a program registers, which a socket of its own
// does.
func (b *bencher) suites(ctx context.Context) ([]benchSuite, error) {
	c, err := b.dialKeys(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	algs, err := c.Register(ctx, wire.SATypeESP)
	if err != nil {
		return nil, command.Failed(err)
	}
	has := func(list []wire.Alg, id wire.AlgID, known bool) bool {
		return known && slices.ContainsFunc(list, func(a wire.Alg) bool { return a.ID == id })
	}
	d := c.Dialect()
	var there []benchSuite
	for _, s := range benchList {
		encrypt, ok := d.EncryptByName(s.encrypt)
		if !has(algs.Encrypt, encrypt, ok) {
			continue
		}
		if auth, ok := d.AuthByName(s.auth); s.auth == "" || has(algs.Auth, auth, ok) {
			there = append(there, s)
		}
	}
	if len(there) == 0 {
		return nil, command.Failed(errors.New("the kernel has none of the suites that can be measured"))
	}
	return there, nil
}

// choose takes the suite of --suite, or the first.
func (b *bencher) choose(there []benchSuite) error {
	i := 0
	if b.f.suite != "" {
		i = slices.IndexFunc(there, func(s benchSuite) bool { return s.name == b.f.suite })
	}
	if i < 0 {
		return command.Usagef("--suite %s: this kernel does not have it, but %s", b.f.suite,
			strings.Join(benchNames(there), ", "))
	}
	b.suite = &there[i]
	return nil
}

// printSuites prints the names, one on a line.
func (e *env) printSuites(list []benchSuite) error {
	for _, s := range list {
		var err error
		if e.json {
			err = e.printJSON(struct {
				Suite string `json:"suite"`
			}{s.name})
		} else {
			_, err = fmt.Fprintln(e.stdout, s.name)
		}
		if err != nil {
			return command.Failed(err)
		}
	}
	return nil
}

func (b *bencher) id(i int) pfkey.SAID {
	return pfkey.SAID{Type: wire.SATypeESP, SPI: wire.SPI(b.f.spi) + wire.SPI(i), Src: pfkey.Host(b.src),
		Dst: pfkey.Host(b.dst)}
}

func (b *bencher) addSAs(ctx context.Context) error {
	d := b.keys.Dialect()
	sa := pfkey.SA{EncryptKey: pfkey.NewKey(benchKey[:b.suite.keyLen+b.suite.cipher.SaltLen])} // with its salt
	if b.suite.mac != nil {
		sa.AuthKey = pfkey.NewKey(benchKey[:b.suite.mac.KeyLen])
		sa.Auth, _ = d.AuthByName(b.suite.auth)
	}
	sa.Encrypt, _ = d.EncryptByName(b.suite.encrypt)
	bar := b.e.progress()
	defer bar.clear()
	for ; b.added < b.f.sas; b.added++ {
		sa.SAID = b.id(b.added)
		if err := b.keys.Add(ctx, sa, 0); err != nil {
			b.deleteSAs()
			return command.Failed(err)
		}
		bar.show("adding SAs: %d of %d", b.added, b.f.sas)
	}
	return nil
}

// deleteSAs takes away what a running engine was given.
func (b *bencher) deleteSAs() {
	if b.own != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	for i := range b.added {
		if b.keys.Delete(ctx, b.id(i)) != nil && ctx.Err() != nil {
			fmt.Fprintf(b.e.stderr, "ipsecinject: %d SAs of the benchmark stay behind\n", b.added-i)
			return
		}
	}
}

// packets seals one packet for each SA, or for some of very many.
func (b *bencher) packets(size int) ([][]byte, error) {
	u := b.suite.suite()
	t, err := u.New()
	if err != nil {
		return nil, err
	}
	align := kernels.AlignESP(b.keys.Dialect().Name, u)
	plain, err := udpPacket(b.src, b.dst, ipsec.Ports{Src: 40000, Dst: 9}, string(make([]byte, size-8)))
	if err != nil {
		return nil, err
	}
	const most = 4096
	pkts := make([][]byte, min(b.f.sas, most))
	for i := range pkts {
		n := i
		if b.f.sas > most {
			n = rand.IntN(b.f.sas)
		}
		s := ipsec.Sealing{SPI: b.f.spi + uint32(n), Seq: 1, IV: make([]byte, t.IVLen()), Align: align}
		if pkts[i], err = t.SealTransport(nil, plain, ipsec.Ports{}, s); err != nil {
			return nil, err
		}
	}
	return pkts, nil
}

// samples is how many latencies a core keeps: all of them at first, and then a fair choice.
const samples = 1 << 18

// tally is what one core has measured.
type tally struct {
	packets atomic.Int64
	wrong   atomic.Int64
	took    []int64
	max     int64
	r       *rand.Rand
}

func (t *tally) add(d time.Duration, good bool) {
	n := t.packets.Add(1)
	if !good {
		t.wrong.Add(1)
	}
	ns := d.Nanoseconds()
	t.max = max(t.max, ns)
	if len(t.took) < samples {
		t.took = append(t.took, ns)
	} else if i := t.r.Int64N(n); i < samples {
		t.took[i] = ns
	}
}

func (b *bencher) run(ctx context.Context, size int) (benchResult, error) {
	res := benchResult{Size: size, SAs: b.f.sas, Cores: b.f.cores, Rate: b.f.rate}
	pkts, err := b.packets(size)
	if err != nil {
		return res, command.Failed(err)
	}
	ctx, cancel := context.WithTimeout(ctx, b.f.time)
	defer cancel()
	tallies := make([]tally, b.f.cores)
	errs := make([]error, b.f.cores)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range tallies {
		t := &tallies[i]
		t.r = rand.New(rand.NewPCG(1, uint64(i)))
		wg.Go(func() {
			if b.own != nil {
				b.straight(ctx, t, pkts)
			} else {
				errs[i] = b.through(ctx, b.wires[i], t, pkts)
			}
		})
	}
	over := make(chan struct{})
	go func() { // ends with the cores
		wg.Wait()
		close(over)
	}()
	bar := b.e.progress()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-over:
			running = false
		case <-tick.C:
			sum := int64(0)
			for i := range tallies {
				sum += tallies[i].packets.Load()
			}
			bar.show("%d bytes: %d packets, %.0f a second", size, sum, float64(sum)/time.Since(begin).Seconds())
		}
	}
	bar.clear()
	elapsed := time.Since(begin).Seconds()
	if err := errors.Join(errs...); err != nil {
		return res, err
	}
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) && err != nil {
		return res, interrupted()
	}
	var all []int64
	for i := range tallies {
		t := &tallies[i]
		res.Packets += t.packets.Load()
		res.Wrong += t.wrong.Load()
		res.Max = max(res.Max, t.max)
		all = append(all, t.took...)
	}
	slices.Sort(all)
	at := func(q float64) int64 {
		if len(all) == 0 {
			return 0
		}
		return all[min(int(q*float64(len(all))), len(all)-1)]
	}
	res.P50, res.P90, res.P99, res.P999 = at(.5), at(.9), at(.99), at(.999)
	res.PerSec = float64(res.Packets) / elapsed
	res.Mbit = res.PerSec * float64(size) * 8 / 1e6
	return res, nil
}

// pace says when the next packet is to be sent, and waits until then.
type pace struct {
	next  time.Time
	every time.Duration // 0: at once
}

func (b *bencher) pace() *pace {
	p := &pace{next: time.Now()}
	if b.f.rate > 0 {
		p.every = time.Duration(float64(time.Second) * float64(b.f.cores) / b.f.rate)
	}
	return p
}

func (p *pace) wait() time.Time {
	now := time.Now()
	if p.every == 0 {
		return now
	}
	at := p.next
	p.next = at.Add(p.every)
	if d := at.Sub(now); d > 0 {
		time.Sleep(d)
	}
	return at
}

// straight drives packets into our own engine.
func (b *bencher) straight(ctx context.Context, t *tally, pkts [][]byte) {
	var at time.Time
	room := make([]byte, 0, len(pkts[0])+64)
	done := func(_ *packet.Packet, v packet.Verdict) { t.add(time.Since(at), v.Kind == packet.Delivered) }
	p := b.pace()
	var pkt packet.Packet
	for i := t.r.IntN(len(pkts)); ; i++ {
		at = p.wait()
		pkt = packet.Packet{ID: uint64(i), Data: pkts[i%len(pkts)], Room: room, Done: done}
		b.own.Inbound(&pkt)
		if ctx.Err() != nil { // after one packet at least, however busy the machine is
			return
		}
	}
}

// through drives packets through a packet port, a few at a time without their verdict.
func (b *bencher) through(ctx context.Context, c *packetport.Client, t *tally, pkts [][]byte) error {
	var sent [window]time.Time // by id; a slot is free when its verdict has come
	free := make(chan uint64, window)
	for i := range uint64(window) {
		free <- i
	}
	received := make(chan error, 1)
	stop, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends when every packet has a verdict and no more is sent, or the connection fails
		for {
			v, err := c.Recv(stop)
			if err != nil {
				received <- err
				return
			}
			if v.ID < window && v.Final() {
				t.add(time.Since(sent[v.ID]), v.Kind == packet.Delivered)
				free <- v.ID
			}
		}
	}()
	p := b.pace()
	for i := t.r.IntN(len(pkts)); ctx.Err() == nil; i++ {
		at := p.wait()
		select {
		case id := <-free:
			sent[id] = at
			if err := c.InjectAs(stop, id, pkts[i%len(pkts)], packetport.Inbound, ""); err != nil {
				return command.Failed(err)
			}
		case err := <-received:
			return command.Failed(err)
		case <-ctx.Done():
		}
	}
	last := time.NewTimer(silence)
	defer last.Stop()
	for range window {
		select {
		case <-free:
		case err := <-received:
			return command.Failed(err)
		case <-last.C:
			return command.Failed(fmt.Errorf("the engine has not answered for %v", silence))
		}
	}
	cancel()
	<-received
	return nil
}

package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/internal/terminal"
	"github.com/pfkeyd/pfkeyd/ipsec"
)

type sendFlags struct {
	injection
	recipe

	proto, mode, encap, ports  string
	enc, encKey, auth, authKey string
	icv                        int
	fromEngine                 bool
	src, dst                   string
	innerSrc, innerDst, inner  string
	count                      uint64
	repeat                     int
	dry                        bool
	write                      string
	hex                        []string
	finished                   [][]byte // the packets of --hex
}

// encapDefault is what --encap means without ports.
const encapDefault = "4500:4500"

// onlyPorts is what may stand behind --encap and a blank.
var onlyPorts = regexp.MustCompile(`^[0-9]{1,5}:[0-9]{1,5}$`)

// args takes no arguments but the ports of an --encap that has none: pflag does not know whether what follows such an
// option belongs to it.
func (f *sendFlags) args(cmd *cobra.Command, args []string) error {
	if f.encap == encapDefault && len(args) == 1 && onlyPorts.MatchString(args[0]) {
		f.encap = args[0]
		return nil
	}
	return command.NoArgs(cmd, args)
}

func (e *env) sendCommand() *cobra.Command {
	var f sendFlags
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Build ESP or AH packets and inject them",
		Long: fmt.Sprintf(`send builds packets, protects them with the algorithms and keys given, injects
them and prints their verdicts. Ids count from 1. With --outbound the packets
stay plaintext and no SA is needed.

What is protected is a UDP datagram from --src to --dst with --data in it, or
the whole IP packet --inner. In tunnel mode that goes inside a new header from
--src to --dst.

Algorithms and keys are given, or read from the engine's SA with --from-engine
(add --icv where its kernel cuts the ICV shorter than the RFC has it). Keys are
hexadecimal; @FILE reads them from a file of at most 1 MiB, which keeps them out of
the list of processes. An algorithm with a salt (aes-ctr, aes-gcm, aes-gmac, aes-ccm,
chacha20-poly1305) has it behind the key.

%s
%s

Packets can be spoiled: --bad-icv changes the ICV; --bad-padding and
--bad-pad-length change the trailer under a right ICV (null, des-cbc, 3des-cbc,
aes-cbc and aes-gcm; integrity none, hmac-md5, hmac-sha1, hmac-sha256/384/512);
--short cuts the packet; --repeat sends the same bytes again, a replay.

With --hex a finished packet is sent as it is, and nothing is built.

With --expect the exit status tells what became of the packets: 0 if the last
verdict of each is the one that is named, 1 if not. A packet that waits has that
verdict when --wait is over.

With --write the packets go into a capture instead, for wireshark or for pcap.`,
			listed("Encryption: ", cipherNames()), listed("Integrity: none, ", macNames())),
		Example: `  ipsecinject send --src 192.0.2.2 --dst 192.0.2.1 --spi 0x1000 \
      --enc aes-cbc --enc-key @enc.key --auth hmac-sha1 --auth-key @auth.key
  ipsecinject send --outbound --src 192.0.2.1 --dst 192.0.2.2 --ports 500:500
  ipsecinject send --expect delivered \
      --hex 4500001c00000000401166cf0a0000010a0000020007000900080000`,
		Args: f.args,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.checkFinished(cmd); err != nil {
				return err
			}
			return e.send(cmd.Context(), &f)
		},
	}
	f.injection.addTo(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.proto, "proto", "esp", "`PROTOCOL`, esp or ah")
	fl.StringVar(&f.mode, "mode", "transport", "`MODE`, transport or tunnel")
	fl.StringVar(&f.src, "src", "", "source `ADDRESS`, of the outer header in tunnel mode")
	fl.StringVar(&f.dst, "dst", "", "destination `ADDRESS`, of the outer header in tunnel mode")
	fl.Uint32Var(&f.spi, "spi", 0, "security parameters index")
	fl.Uint64Var(&f.seq, "seq", 1, "sequence number of the first packet; with --esn 64 bits")
	fl.BoolVar(&f.suite.ESN, "esn", false, "extended sequence numbers")
	fl.StringVar(&f.enc, "enc", "null", "encryption `ALGORITHM`")
	fl.StringVar(&f.encKey, "enc-key", "", "its key, `HEX` or @FILE")
	fl.StringVar(&f.auth, "auth", "none", "integrity `ALGORITHM`")
	fl.StringVar(&f.authKey, "auth-key", "", "its key, `HEX` or @FILE")
	fl.IntVar(&f.icv, "icv", 0, "length of the ICV in `BITS`; 0: as the RFC has it")
	fl.BoolVar(&f.fromEngine, "from-engine", false,
		"algorithms and keys of the SA that the engine has for --proto, --spi, --src and --dst")
	fl.StringVar(&f.encap, "encap", "", "ESP in UDP, from and to these `PORTS`")
	fl.Lookup("encap").NoOptDefVal = encapDefault
	fl.StringVar(&f.ports, "ports", "40000:9", "`PORTS` of the UDP datagram inside")
	fl.StringVar(&f.data, "data", "ipsecinject", "`TEXT` in the UDP datagram inside")
	command.MayBeEmpty(cmd, "data", "enc-key") // the null cipher has such a key
	fl.StringVar(&f.innerSrc, "inner-src", "", "source `ADDRESS` of the packet inside a tunnel (default: --src)")
	fl.StringVar(&f.innerDst, "inner-dst", "", "destination `ADDRESS` of the packet inside a tunnel (default: --dst)")
	fl.StringVar(&f.inner, "inner", "", "whole IP packet to protect, `HEX` or @FILE")
	fl.Uint64Var(&f.count, "count", 1, "`NUMBER` of packets, with rising sequence numbers")
	fl.IntVar(&f.repeat, "repeat", 0, "send each packet `NUMBER` times more")
	fl.IntVar(&f.align, "ah-align", 0,
		"the AH header is a multiple of these `BYTES`; "+
			"0: as the RFC has it, and 8 for an engine of Linux, which wants so")
	fl.BoolVar(&f.badICV, "bad-icv", false, "a wrong ICV")
	fl.BoolVar(&f.badPadding, "bad-padding", false, "padding that is not 1, 2, 3, ...")
	fl.BoolVar(&f.badPadLength, "bad-pad-length", false, "a pad length larger than the payload")
	fl.IntVar(&f.short, "short", -1, "only this many `BYTES` of the ESP or AH part")
	fl.StringArrayVar(&f.hex, "hex", nil, "a finished packet, from its IP header on, `HEX` or @FILE; may be repeated")
	fl.BoolVar(&f.dry, "dry-run", false, "print the packets in hexadecimal, one on a line, and send nothing")
	fl.StringVar(&f.write, "write", "",
		"write the packets into a capture, a pcap `FILE` or - for standard output, and send nothing")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "write")
	command.Complete(cmd, "proto", "esp", "ah")
	command.Complete(cmd, "mode", "transport", "tunnel")
	command.Complete(cmd, "enc", cipherNames()...)
	command.Complete(cmd, "auth", append([]string{"none"}, macNames()...)...)
	return cmd
}

func (e *env) send(ctx context.Context, f *sendFlags) error {
	if err := f.parse(ctx); err != nil {
		return err
	}
	if f.fromEngine {
		if err := e.readSA(ctx, f); err != nil {
			return err
		}
	}
	if !f.plain {
		if err := f.ready(); err != nil {
			return err
		}
		esp := f.suite.Proto == ipsec.ESP
		if esp {
			f.align = 0
		}
		if !f.dry && f.write == "" && f.align == 0 {
			a, err := e.address()
			if err != nil {
				return err
			}
			if f.align = kernels.AlignAH(a.Kernel); esp {
				f.align = kernels.AlignESP(a.Kernel, &f.suite)
			}
		}
	}
	each := func(yield func([]byte) error) error {
		for _, p := range f.finished {
			for range f.repeat + 1 {
				if err := yield(p); err != nil {
					return err
				}
			}
		}
		if f.finished != nil {
			return nil
		}
		for i := range f.count {
			p, err := f.packet(i)
			if err != nil {
				return command.Usagef("packet %d: %w", i+1, err)
			}
			for range f.repeat + 1 {
				if ctx.Err() != nil {
					return interrupted()
				}
				if err := yield(p); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if f.dry {
		return each(func(p []byte) error {
			if _, err := fmt.Fprintln(e.stdout, hex.EncodeToString(p)); err != nil {
				return command.Failed(err)
			}
			return nil
		})
	}
	if f.write != "" {
		return e.writeCapture(ctx, f.write, each)
	}
	s, err := e.open(ctx, &f.injection)
	if err != nil {
		return err
	}
	defer s.close()
	id := uint64(0)
	err = each(func(p []byte) error {
		id++
		return s.inject(ctx, id, p)
	})
	if err == nil {
		err = s.finish(ctx)
	}
	if err != nil {
		return err
	}
	s.summary("")
	return s.verdict()
}

// checkFinished refuses options that build a packet beside one that is finished.
func (f *sendFlags) checkFinished(cmd *cobra.Command) (err error) {
	if len(f.hex) == 0 {
		return nil
	}
	cmd.Flags().Visit(func(fl *pflag.Flag) {
		switch fl.Name {
		case "hex", "repeat", "dry-run", "write", "outbound", "tunnel", "wait", "expect", "engine", "json":
		default:
			err = command.Usagef("--hex is a finished packet, which takes no --%s", fl.Name)
		}
	})
	return err
}

// parse makes the recipe of the flags. No error repeats what was given as a key.
func (f *sendFlags) parse(ctx context.Context) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	if f.count == 0 {
		return command.Usagef("--count 0: there is nothing to send")
	}
	if f.repeat < 0 {
		return command.Usagef("--repeat %d is less than nothing", f.repeat)
	}
	if f.expect != "" && (f.dry || f.write != "") {
		return command.Usagef("--expect is for packets that are sent, not --dry-run and --write")
	}
	f.plain = f.outbound
	if len(f.hex) > 0 {
		return f.parseFinished(ctx)
	}
	if f.inner != "" {
		if f.packetInside, err = readHex(ctx, "--inner", f.inner); err != nil {
			return err
		}
		if len(f.packetInside) == 0 {
			return command.Usagef("--inner: no bytes")
		}
	}
	if f.recipe.src, err = parseAddr("--src", f.src); err != nil {
		return err
	}
	if f.recipe.dst, err = parseAddr("--dst", f.dst); err != nil {
		return err
	}
	switch f.mode {
	case "transport":
	case "tunnel":
		f.tunnelMode = true
	default:
		return command.Usagef("--mode %q is neither transport nor tunnel", f.mode)
	}
	if (f.inner == "" || f.tunnelMode && !f.plain) && (f.src == "" || f.dst == "") {
		return command.Usagef("--src and --dst are needed")
	}
	if f.recipe.innerSrc, err = orElse("--inner-src", f.innerSrc, f.recipe.src); err != nil {
		return err
	}
	if f.recipe.innerDst, err = orElse("--inner-dst", f.innerDst, f.recipe.dst); err != nil {
		return err
	}
	if !f.tunnelMode && (f.innerSrc != "" || f.innerDst != "") {
		return command.Usagef("--inner-src and --inner-dst are for --mode tunnel")
	}
	if f.inner == "" && f.recipe.innerSrc.Is4() != f.recipe.innerDst.Is4() {
		return command.Usagef("the addresses %v and %v are not of one family", f.recipe.innerSrc, f.recipe.innerDst)
	}
	if f.recipe.src.IsValid() && f.recipe.src.Is4() != f.recipe.dst.Is4() {
		return command.Usagef("the addresses %v and %v are not of one family", f.recipe.src, f.recipe.dst)
	}
	if f.innerPorts, err = parsePorts("--ports", f.ports); err != nil {
		return err
	}
	if f.plain {
		return nil
	}
	if f.encap != "" {
		if f.udp, err = parsePorts("--encap", f.encap); err != nil {
			return err
		}
	}
	return f.parseSA(ctx)
}

// parseFinished reads the packets of --hex. What they are is for the engine to judge.
func (f *sendFlags) parseFinished(ctx context.Context) error {
	f.plain = true
	for _, text := range f.hex {
		p, err := readHex(ctx, "--hex", text)
		if err != nil {
			return err
		}
		if len(p) == 0 {
			return command.Usagef("--hex: no bytes")
		}
		f.finished = append(f.finished, p)
	}
	return nil
}

func (f *sendFlags) parseSA(ctx context.Context) error {
	switch f.proto {
	case "esp":
		f.suite.Proto = ipsec.ESP
	case "ah":
		f.suite.Proto = ipsec.AH
		if f.enc != "null" || f.encKey != "" {
			return command.Usagef("AH does not encrypt")
		}
		if f.encap != "" {
			return command.Usagef("AH does not go in UDP")
		}
		if f.badPadding || f.badPadLength {
			return command.Usagef("AH has no padding to spoil")
		}
	default:
		return command.Usagef("--proto %q is neither esp nor ah", f.proto)
	}
	if f.spi == 0 {
		return command.Usagef("--spi is needed")
	}
	if !f.suite.ESN && (f.seq > 1<<32-1 || f.count > 1<<32-f.seq) {
		return command.Usagef("sequence numbers from %d are longer than 32 bits, add --esn", f.seq)
	}
	if f.icv%8 != 0 || f.icv < 0 {
		return command.Usagef("--icv %d is no multiple of 8 bits", f.icv)
	}
	if f.fromEngine {
		return nil
	}
	if f.suite.Proto == ipsec.ESP {
		c, ok := cipherByName(f.enc)
		if !ok {
			return command.Usagef("--enc %q is none of %s", f.enc, strings.Join(cipherNames(), ", "))
		}
		key, err := readHex(ctx, "--enc-key", f.encKey)
		if err != nil {
			return err
		}
		if !c.KeyOK(len(key) - c.SaltLen) {
			return command.Usagef("--enc-key: %s", keyLengths(c, len(key)))
		}
		f.suite.Cipher = c
		f.suite.Key, f.suite.Salt = ipsec.NewKey(key[:len(key)-c.SaltLen]), ipsec.NewKey(key[len(key)-c.SaltLen:])
	}
	key, err := readHex(ctx, "--auth-key", f.authKey)
	if err != nil {
		return err
	}
	if f.auth == "none" {
		if len(key) > 0 {
			return command.Usagef("--auth-key without --auth")
		}
	} else {
		m, ok := macByName(f.auth)
		if !ok {
			return command.Usagef("--auth %q is none of %s", f.auth, strings.Join(macNames(), ", "))
		}
		if len(key) == 0 {
			return command.Usagef("--auth-key is needed for %s", m)
		}
		f.suite.MAC, f.suite.AuthKey = m, ipsec.NewKey(key)
	}
	return nil
}

// ready sets the suite up, wherever it comes from.
func (f *sendFlags) ready() (err error) {
	f.suite.ICV = f.icv / 8
	if f.transform, err = f.suite.New(); err != nil {
		return command.Usagef("%w", err)
	}
	if f.badICV && !f.transform.Authenticated() {
		return command.Usagef("--bad-icv: there is no ICV without --auth")
	}
	return nil
}

func orElse(flag, s string, other netip.Addr) (netip.Addr, error) {
	if s == "" {
		return other, nil
	}
	return parseAddr(flag, s)
}

func parsePorts(flag, s string) (ipsec.Ports, error) {
	a, b, _ := strings.Cut(s, ":")
	src, err := strconv.ParseUint(a, 10, 16)
	dst, err2 := strconv.ParseUint(b, 10, 16)
	if errors.Join(err, err2) != nil {
		return ipsec.Ports{}, command.Usagef("%s %q is not SOURCE:DESTINATION, two port numbers", flag, s)
	}
	return ipsec.Ports{Src: uint16(src), Dst: uint16(dst)}, nil
}

// maxHexFile bounds a file of hexadecimal digits, in bytes: the longest packet with room for white space.
const maxHexFile = 1 << 20

// readHex reads hexadecimal digits, or those in the file behind an @. White space, colons and a leading 0x do not
// count. The error does not show what was read.
func readHex(ctx context.Context, flag, s string) ([]byte, error) {
	if name, ok := strings.CutPrefix(s, "@"); ok {
		b, err := files.ReadAll(ctx, name, maxHexFile)
		if err != nil {
			return nil, command.Unreadable(fmt.Errorf("%s: %w", flag, err))
		}
		s = string(b)
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == ':' {
			return -1
		}
		return r
	}, s)
	s = strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X")
	b := make([]byte, hex.DecodedLen(len(s)))
	if _, err := hex.Decode(b, []byte(s)); err != nil {
		return nil, command.Usagef("%s: not an even number of hexadecimal digits", flag)
	}
	return b, nil
}

func keyLengths(c *ipsec.Cipher, n int) string {
	var lengths []string
	if c.MaxKey == c.MinKey {
		lengths = []string{strconv.Itoa(8 * c.MinKey)}
	} else {
		lengths = []string{fmt.Sprintf("%d to %d in steps of %d", 8*c.MinKey, 8*c.MaxKey, 8*c.KeyStep)}
	}
	salt := ""
	if c.SaltLen > 0 {
		salt = fmt.Sprintf(" and a salt of %d bits behind it", 8*c.SaltLen)
	}
	return fmt.Sprintf("%d bits, but %s takes a key of %s bits%s", 8*n, c, strings.Join(lengths, ""), salt)
}

func cipherNames() []string {
	var names []string
	for _, c := range ipsec.Ciphers() {
		names = append(names, c.Name)
	}
	return names
}

func macNames() []string {
	var names []string
	for _, m := range ipsec.MACs() {
		names = append(names, m.Name)
	}
	return names
}

func cipherByName(name string) (*ipsec.Cipher, bool) {
	for _, c := range ipsec.Ciphers() {
		if c.Name == name {
			return c, true
		}
	}
	return nil, false
}

func macByName(name string) (*ipsec.MAC, bool) {
	for _, m := range ipsec.MACs() {
		if m.Name == name {
			return m, true
		}
	}
	return nil, false
}

// listed is names as the help lists them.
func listed(what string, names []string) string {
	return strings.Join(terminal.Wrap(what+strings.Join(names, ", ")+".", 78), "\n")
}

package pfkeytest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// programVariable makes the test binary a program that opens AF_KEY by itself and knows nothing of this package.
const programVariable = "PFKEYTEST_TEST_PROGRAM"

// command runs the test binary as such a program.
func command(program string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), programVariable+"="+program)
	return cmd
}

// morePrograms are those of other files.
var morePrograms = map[string]func(*pfkey.Client) error{}

// program is what it does then; its result is the exit status.
func program(name string) int {
	name, argument, _ := strings.Cut(name, " ")
	client, err := pfkey.Dial(context.Background(), "af_key:")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer client.Close()
	if run := morePrograms[name]; run != nil {
		if err := run(client); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	switch name {
	case "manage", "forget":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		m := manager{client: client, renews: name == "manage"}
		if err := m.run(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println("done")
		return 7
	case "register":
		if _, err := client.Register(context.Background(), wire.SATypeESP); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	case "sixth": // asks for an SA over IPv6, whose addresses must come back as they are on this machine
		if err := sixth(client); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	case "daemon": // leaves a daemon behind: of a session of its own, deaf to SIGTERM, with nobody for a parent
		cmd := command("deaf " + argument)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	case "parent": // ends well if its child goes when it is told to by its parent, and by nobody else
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		child := command("child")
		tell, err := child.StdinPipe()
		if err == nil {
			child.Stdout, child.Stderr = os.Stdout, os.Stderr
			err = child.Start()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		<-term
		tell.Close()
		if err := child.Wait(); err != nil {
			fmt.Fprintln(os.Stderr, "the child:", err)
			return 1
		}
		return 0
	case "child":
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		if _, err := client.Register(context.Background(), wire.SATypeAH); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it
		return len(term)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		if _, err := client.Register(context.Background(), wire.SATypeAH); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		select {}
	}
	return 99
}

// overIPv6 are the addresses that sixth asks for.
var overIPv6 = [2]wire.Address{
	{Addr: netip.MustParseAddr("2001:db8::2"), PrefixLen: 128},
	{Addr: netip.MustParseAddr("2001:db8::1"), PrefixLen: 128},
}

// sixth gets an SPI, finds the LARVAL SA, and asks in vain for another one.
func sixth(c *pfkey.Client) error {
	ctx := context.Background()
	spi, err := c.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: overIPv6[0], Dst: overIPv6[1]})
	if err != nil {
		return err
	}
	id := pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: overIPv6[0], Dst: overIPv6[1]}
	got, err := c.Get(ctx, id)
	if err != nil {
		return err
	}
	if got.Src.Addr != id.Src.Addr || got.Dst.Addr != id.Dst.Addr || got.SPI != spi {
		return fmt.Errorf("the SA is %v", got)
	}
	if err := c.Flush(ctx, wire.SATypeOSPFv2); !errors.Is(err, syscall.EOPNOTSUPP) {
		return fmt.Errorf("what the kernel has not is %v", err)
	}
	return nil
}

// A manager is a small key manager: it answers ACQUIREs by a pair of SAs, and renews a pair when one of it grows old;
// one that forgets does not.
type manager struct {
	client *pfkey.Client
	renews bool
}

func (m *manager) run(ctx context.Context) error {
	if _, err := m.client.Register(ctx, wire.SATypeESP); err != nil {
		return err
	}
	for event, err := range m.client.Watch(ctx) {
		if err != nil {
			return err
		}
		switch e := event.(type) {
		case *pfkey.Acquire:
			if e.PID == 0 && e.Err == nil {
				err = m.pair(ctx, e.Src, e.Dst, e.Seq)
			}
		case *pfkey.Expire:
			if e.Limit == pfkey.LimitSoft && e.Src.Addr == own && m.renews {
				err = m.pair(ctx, e.Src, e.Dst, 0)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pair makes SAs in both directions, the other way first.
func (m *manager) pair(ctx context.Context, src, dst wire.Address, seq wire.Seq) error {
	in, err := m.client.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: dst, Dst: src})
	if err != nil {
		return err
	}
	sa := inbound(m.client.Dialect(), in)
	if err := m.client.Update(ctx, sa, 0); err != nil {
		return err
	}
	sa.Src, sa.Dst, sa.SPI = src, dst, in^1 // a real one asks its peer
	return m.client.Add(ctx, sa, seq)
}

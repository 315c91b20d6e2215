package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// notifyVariable names the socket of a service manager that wants to know when a service is ready (sd_notify(3)).
const notifyVariable = "NOTIFY_SOCKET"

// readyFlags say who is told when the engine can be used, beside those who read its output.
type readyFlags struct{ fd int }

func (f *readyFlags) register(cmd *cobra.Command) {
	f.fd = -1
	cmd.Flags().IntVar(&f.fd, "ready-fd", -1,
		"when the engine is ready, write its address to this open `DESCRIPTOR` and close it")
	cmd.Flags().Lookup("ready-fd").DefValue = "none"
}

// check refuses a descriptor that whoever has started the process did not leave open for it.
func (f *readyFlags) check(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("ready-fd") {
		return nil
	}
	if f.fd <= 2 {
		return command.Usagef("--ready-fd %d: an open descriptor from 3 on is wanted", f.fd)
	}
	// Descriptors of our own are closed on exec, and so could not have been inherited.
	if flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
		return command.Usagef("--ready-fd %d: this descriptor is not open", f.fd)
	}
	return nil
}

// tell says that the engine is ready. An error says who could not be told; the engine is ready all the same.
func (f *readyFlags) tell(a pfkey.Address) error {
	var err error
	if f.fd >= 0 {
		file := os.NewFile(uintptr(f.fd), "ready")
		if _, err = fmt.Fprintln(file, a); err != nil {
			err = fmt.Errorf("--ready-fd %d: %w", f.fd, err)
		}
		file.Close()
	}
	return errors.Join(err, notify("READY=1\nSTATUS=The engine is at "+a.String()+"."))
}

// notify tells the service manager, if there is one.
func notify(state string) error {
	name := os.Getenv(notifyVariable)
	if name == "" {
		return nil
	}
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "@") {
		return fmt.Errorf("%s %q is neither a path nor an abstract name", notifyVariable, name)
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("%s: %w", notifyVariable, err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("%s: %w", notifyVariable, err)
	}
	return nil
}

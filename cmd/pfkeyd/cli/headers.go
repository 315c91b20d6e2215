package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/headers"
	"github.com/pfkeyd/pfkeyd/wire"
)

func (e *env) headers() *cobra.Command {
	var kernel string
	known := strings.Join(headers.Kernels(), ", ")
	cmd := &cobra.Command{
		Use:   "headers --kernel NAME DIR",
		Short: "Write the C headers of an emulated kernel",
		Long: `Headers writes the C headers into DIR that a program made for another system needs to
be compiled on this one: net/pfkeyv2.h and netipsec/ipsec.h, under these names and those
of Linux, or netinet/ip_ipsp.h of OpenBSD. Such a program runs under 'pfkeyd run
--hosted': its messages are the other system's, its socket addresses are this machine's.

Two more are for programs that ask which system they are on, or set the length of a
socket address, which this machine has not:

  cc -I DIR -include pfkeyd/prelude.h        as if on that system
  cc -I DIR -include pfkeyd/sockaddr_len.h   has ss_len, sin_len ...

A program that must believe so in some of its sources only is compiled with DIR/cc:

  DIR/cc pfkey.c,other.c cc -c pfkey.c       these two as if on that system
  cmake -DCMAKE_C_COMPILER_LAUNCHER='DIR/cc;pfkey.c' ...

A source that includes pfkeyd/layout.h has the compiler check that the structures lie as
the messages have them. Headers of its own are written anew, files of others never are.`,
		Example: `  pfkeyd headers --kernel netbsd include
  cc -I include -o program program.c
  pfkeyd run --kernel netbsd --hosted -- ./program`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return command.Usagef("headers: one directory is wanted, there are %d", len(args))
			case kernel == "":
				return command.Usagef("headers: --kernel NAME is needed: %s", known)
			}
			d, ok := wire.ByName(kernel)
			if !ok {
				return command.Usagef("--kernel %q: %s", kernel, known)
			}
			all, err := headers.Files(d)
			if err != nil {
				return command.Usagef("--kernel %s: %w", kernel, err)
			}
			for _, h := range all {
				if err := writeHeader(filepath.Join(args[0], filepath.FromSlash(h.Path)), h); err != nil {
					return command.Failed(err)
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&kernel, "kernel", "", "the kernel whose headers they are: "+known)
	command.Complete(cmd, "kernel", headers.Kernels()...)
	return cmd
}

// writeHeader writes one header, unless somebody else's file has its name.
func writeHeader(path string, h headers.File) error {
	switch st, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is in the way: it is no file", path)
	default:
		old, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Contains(old, []byte(headers.Mark)) {
			return fmt.Errorf("%s is somebody else's, and stays as it is", path)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	mode := fs.FileMode(0o666)
	if h.Executable {
		mode = 0o777
	}
	return os.WriteFile(path, h.Content, mode)
}

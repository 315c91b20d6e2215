package cli

import (
	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/conform"
)

func (e *env) conform() *cobra.Command {
	var c conform.Config
	cmd := &cobra.Command{
		Use:   "conform --kernel NAME [PATH...]",
		Short: "Play recordings of a real kernel and compare byte for byte",
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Paths = args
			if code := conform.Main(cmd.Context(), c, e.stdout, e.stderr); code != exitDone {
				return told(code)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Kernel, "kernel", "illumos", "the kernel whose recordings are played")
	f.StringVar(&c.Run, "run", "", "only scenarios whose name matches this regular expression")
	f.StringVar(&c.Fault, "fault", "", "a deliberate defect: larval-unlocked, larval-window")
	f.BoolVarP(&c.Verbose, "verbose", "v", false, "every scenario, and every difference of those that fail")
	f.BoolVar(&c.JSON, "json", false, "one JSON object a line")
	f.BoolVar(&c.ShowKeys, "show-keys", false, "print key bytes as they are")
	return cmd
}

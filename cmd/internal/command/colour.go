package command

import (
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pfkeyd/pfkeyd/internal/terminal"
)

// Colour is the value of --color: when output has colour. The zero value is auto.
type Colour struct{ when string }

// Register makes it an option of root and of all below it.
func (c *Colour) Register(root *cobra.Command) {
	root.PersistentFlags().Var(c, "color",
		"`WHEN` to use colour: auto (on a terminal, unless NO_COLOR is set), always or never")
	Complete(root, "color", colours...)
}

var colours = []string{"auto", "always", "never"}

// Set implements the value of an option.
func (c *Colour) Set(s string) error {
	for _, known := range colours {
		if s == known {
			c.when = s
			return nil
		}
	}
	return errors.New("auto, always or never is wanted")
}

// String implements the value of an option.
func (c *Colour) String() string {
	if c.when == "" {
		return "auto"
	}
	return c.when
}

// Type implements the value of an option.
func (c *Colour) Type() string { return "when" }

// Wanted says whether what goes to out shall have colour: if that is not said, when out is a terminal whose user has
// nothing against it (https://no-color.org).
func (c *Colour) Wanted(out io.Writer) terminal.Painter {
	switch c.when {
	case "always":
		return true
	case "never":
		return false
	}
	f, ok := out.(*os.File)
	wanted := ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
	return terminal.Painter(wanted)
}

// Complete names the values of an option for the shell. It panics if there is no such option.
func Complete(cmd *cobra.Command, flag string, values ...string) {
	fixed := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, fixed); err != nil {
		panic(err)
	}
}

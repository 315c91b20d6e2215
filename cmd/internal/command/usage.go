package command

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pfkeyd/pfkeyd/internal/spelling"
	"github.com/pfkeyd/pfkeyd/internal/terminal"
)

// NoArgs refuses arguments: a word in the place of a subcommand that is none, with the one that is near, and any word
// behind a command that takes none. A word that may be a key which has lost its option is not repeated.
func NoArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasAvailableSubCommands():
		return unknownCommand(cmd, args[0])
	}
	return fmt.Errorf("%s takes no arguments, there %s", cmd.CommandPath(), counted(len(args)))
}

// MaxArgs refuses more than n arguments.
func MaxArgs(n int) cobra.PositionalArgs { return argCount(0, n) }

// ExactArgs refuses more and fewer than n arguments.
func ExactArgs(n int) cobra.PositionalArgs { return argCount(n, n) }

func argCount(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if n := len(args); n < least || n > most {
			bound := "at most "
			if least == most {
				bound = ""
			}
			return fmt.Errorf("%s takes %s%s, there %s", cmd.CommandPath(), bound, Count(most, "argument"), counted(n))
		}
		return nil
	}
}

// counted is "is 1" or "are 2".
func counted(n int) string {
	if n == 1 {
		return "is 1"
	}
	return fmt.Sprintf("are %d", n)
}

// Count is a number of things, such as "1 packet" or "2 packets".
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// word is what may be repeated in a message. Keys are longer, or have digits.
var word = regexp.MustCompile(`^[A-Za-z-]{1,20}$`)

func unknownCommand(parent *cobra.Command, name string) error {
	if !word.MatchString(name) {
		return fmt.Errorf("%s: no such command", parent.CommandPath())
	}
	var names []string
	for _, c := range parent.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return fmt.Errorf("%s has no command %q%s", parent.CommandPath(), name, didYouMean(name, names, ""))
}

// didYouMean suggests the candidate that is near, or nothing.
func didYouMean(typed string, candidates []string, prefix string) string {
	if near := spelling.Nearest(typed, candidates); near != "" {
		return fmt.Sprintf("; did you mean %q?", prefix+near)
	}
	return ""
}

// flagError says what is wrong with an option, in place of the words of the library.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		if letters := e.GetSpecifiedShortnames(); letters != "" {
			return fmt.Errorf("unknown option -%s", e.GetSpecifiedName())
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		return fmt.Errorf("unknown option --%s%s", e.GetSpecifiedName(), didYouMean(e.GetSpecifiedName(), names, "--"))
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return fmt.Errorf("option %s needs a value", optionName(e.GetFlag()))
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		f := e.GetFlag()
		return fmt.Errorf("%s %q: %s", optionName(f), e.GetValue(), wantedValue(f, e))
	}
	if e, ok := errors.AsType[*pflag.InvalidSyntaxError](err); ok {
		return fmt.Errorf("%q is no option", e.GetSpecifiedFlag())
	}
	return err
}

// optionName is an option as people type it.
func optionName(f *pflag.Flag) string {
	if f.Shorthand != "" && len(f.Name) > 1 {
		return "-" + f.Shorthand + ", --" + f.Name
	}
	return "--" + f.Name
}

// wantedValue says what the value of an option ought to be like. Values of our own types say so themselves.
func wantedValue(f *pflag.Flag, err *pflag.InvalidValueError) string {
	if errors.Is(err, strconv.ErrRange) {
		return "the number is too large"
	}
	switch kind := strings.TrimSuffix(f.Value.Type(), "Slice"); kind {
	case "int", "int8", "int16", "int32", "int64", "count":
		return "a whole number is wanted"
	case "uint", "uint8", "uint16", "uint32", "uint64":
		return "a whole number that is not negative is wanted"
	case "float32", "float64":
		return "a number is wanted"
	case "bool":
		return "true or false is wanted"
	case "duration":
		return "a time is wanted, such as 300ms, 90s or 8h"
	}
	return err.Unwrap().Error()
}

// help is the command "help", which refuses topics that there are not.
func help() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic := cmd.Root()
			for _, name := range args {
				next, _, err := topic.Find([]string{name})
				if err != nil || next == topic {
					return unknownCommand(topic, name)
				}
				topic = next
			}
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			topic, _, err := cmd.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, c := range topic.Commands() {
				if c.IsAvailableCommand() {
					names = append(names, c.Name()+"\t"+c.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// sternCompletion has "completion" and the shells below it refuse words that they would pass over.
func sternCompletion(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args = NoArgs
		// Arguments are looked at only where something runs.
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		for _, shell := range c.Commands() {
			shell.Args = NoArgs
		}
	}
}

const mayBeEmpty = "pfkeyd_may_be_empty"

// MayBeEmpty says that an empty text means something to these options. It panics if there is no such option.
func MayBeEmpty(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := cmd.Flags().SetAnnotation(flag, mayBeEmpty, []string{}); err != nil {
			panic(err)
		}
	}
}

// noEmptyValues refuses options that were given an empty text: nobody means that, but a script whose variable is not
// set does it.
func noEmptyValues(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if v := f.Value.String(); (v == "" || v == "[]") && f.Annotations[mayBeEmpty] == nil {
			err = errors.Join(err, fmt.Errorf("option %s is empty", optionName(f)))
		}
	})
	return err
}

// fit has the descriptions of commands fit a terminal: paragraphs that are no list or example are set anew.
func fit(cmd *cobra.Command) {
	paragraphs := strings.Split(cmd.Long, "\n\n")
	for i, p := range paragraphs {
		if !strings.HasPrefix(p, " ") && !strings.Contains(p, "\n ") {
			paragraphs[i] = strings.Join(terminal.Wrap(strings.Join(strings.Fields(p), " "), terminal.Columns-1), "\n")
		}
	}
	cmd.Long = strings.Join(paragraphs, "\n\n")
	for _, c := range cmd.Commands() {
		fit(c)
	}
}

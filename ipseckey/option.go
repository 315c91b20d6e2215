package ipseckey

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/spelling"
)

// takeOwnOptions takes out the options that the original does not have. They are words beginning with two dashes, among
// the options in front of the command; anything else stays where it is.
func (s *session) takeOwnOptions(args []string) (rest []string, err error) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--" || a == "-" || !strings.HasPrefix(a, "-"):
			return append(rest, args[i:]...), err
		case a == "--compat":
			s.compat = true
		case strings.HasPrefix(a, "--compat="):
			for name := range strings.SplitSeq(strings.TrimPrefix(a, "--compat="), ",") {
				q, ok := quirkByName(name)
				if !ok {
					err = fmt.Errorf("no quirk is called %q", name)
				}
				s.quirks |= q
			}
		case a == "--json":
			s.json = true
		case a == "--show-keys":
			s.showKeys = true
		case a == "--help":
			s.helpGiven = true
		case a == "--version":
			s.versionGiven = true
		case takesValue(a):
			name, value, ok := strings.Cut(a[2:], "=")
			if !ok {
				if i+1 == len(args) {
					err = fmt.Errorf("option requires an argument -- %s", name)
					break
				}
				i++
				value = args[i]
			}
			err = errors.Join(err, s.takeValue(name, value))
		case strings.HasPrefix(a, "--"):
			rest = append(rest, a) // parseOptions complains
		default:
			rest = append(rest, a)
			if j := strings.IndexAny(a[1:], "fsc"); j == len(a)-2 && i+1 < len(args) {
				i++
				rest = append(rest, args[i]) // the value of -f, -s or -c
			}
		}
	}
	return rest, err
}

// takesValue tells whether a word is an option of ours that has a value, here or in the next word.
func takesValue(a string) bool {
	name, _, _ := strings.Cut(a, "=")
	return name == "--engine" || name == "--kernel" || name == "--color"
}

func (s *session) takeValue(name, value string) error {
	switch name {
	case "engine":
		if value == "" {
			return errors.New("--engine is empty")
		}
		s.engine = value
	case "kernel":
		return s.takeKernel(value)
	case "color":
		if value != colourAuto && value != colourAlways && value != colourNever {
			return fmt.Errorf("--color %q: %s, %s or %s is wanted", value, colourAuto, colourAlways, colourNever)
		}
		s.colour = value
	}
	return nil
}

// parseOptions reads the options of the original in order: what is wrong with an earlier one is found before a later
// one is looked at. input is the file of -f or -c, output that of -s.
func (s *session) parseOptions(args []string) (rest []string, input io.ReadCloser, output *saveFile, err error) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			return args[i+1:], input, output, nil
		}
		if len(a) < 2 || a[0] != '-' {
			return args[i:], input, output, nil
		}
		if strings.HasPrefix(a, "--") {
			fmt.Fprintf(s.Stderr, "ipseckey: illegal option -- %s\n", a[2:])
			if near := spelling.Nearest(a, optionNames()); near != "" && !s.keeps(quirkNoExtras) {
				fmt.Fprintf(s.Stderr, "ipseckey: did you mean %q?\n", near)
			}
			return nil, input, output, s.usage()
		}
		for j := 1; j < len(a); j++ {
			c := a[j]
			var value string
			if c == 'f' || c == 's' || c == 'c' {
				switch {
				case j+1 < len(a):
					value = a[j+1:]
				case i+1 < len(args):
					i++
					value = args[i]
				default:
					fmt.Fprintf(s.Stderr, "ipseckey: option requires an argument -- %c\n", c)
					return nil, input, output, s.usage()
				}
				j = len(a)
			}
			switch c {
			case 'n':
				s.numeric = true
			case 'v':
				s.verbose = true
			case 'p':
				s.paranoid = true
			case 'f', 'c':
				if s.saveGiven {
					return nil, input, output, s.usage()
				}
				if input != nil {
					input.Close()
				}
				s.fileGiven, s.file = true, value
				if c == 'c' {
					s.check = true
				}
				if input, err = s.openConfig(value); err != nil {
					return nil, nil, output, err
				}
			case 's':
				if s.fileGiven {
					return nil, input, output, s.usage()
				}
				if output != nil {
					output.Close()
				}
				s.saveGiven = true
				if output, err = s.createSave(value); err != nil {
					return nil, input, nil, err
				}
			default:
				fmt.Fprintf(s.Stderr, "ipseckey: illegal option -- %c\n", c)
				return nil, input, output, s.usage()
			}
		}
	}
	return nil, input, output, nil
}

// openConfig opens the file of -f or -c after looking at what it is and who may read it.
func (s *session) openConfig(name string) (io.ReadCloser, error) {
	w := s.errors()
	refuse := func(format string, args ...any) error {
		fmt.Fprintf(w, "ipseckey: "+format, args...)
		return s.exitWith(w, exitBadConfig)
	}
	if s.Files == nil {
		return nil, refuse("Invalid pathname: %s\n\n", name)
	}
	info, err := s.Files.Stat(name)
	switch {
	case err != nil:
		return nil, refuse("Invalid pathname: %s\n\n", name)
	case !info.Regular:
		return nil, refuse("%s - Not a regular file\n\n", name)
	}
	f, info, err := s.Files.Open(s.ctx, name)
	if err != nil {
		return nil, refuse("Unable to open configuration file: %s\n\n", name)
	}
	owned := info.UID == 0 || info.UID == s.UID && !s.keeps(quirkRootOnly)
	if info.Perm&0o077 == 0 && owned {
		return f, nil
	}
	if s.smf {
		f.Close()
		return nil, refuse("Config file %s has insecure permissions.\n", name)
	}
	fmt.Fprintf(s.Stderr, "Config file %s has insecure permissions, will be rejected in permanent config.\n", name)
	return f, nil
}

const usageLines = "Usage:\tipseckey [ -nvp ] | cmd [sa_type] [extfield value]*\n" +
	"\tipseckey [ -nvp ] -f infile\n" +
	"\tipseckey [ -nvp ] -s outfile\n"

// usage says how the command is used, and ends a run that is not a loop.
func (s *session) usage() error {
	if s.mode != modeOneShot {
		fmt.Fprint(s.Stderr, "Type help or ? for usage info\n")
		return nil
	}
	fmt.Fprint(s.Stderr, usageLines)
	if !s.keeps(quirkNoExtras) {
		fmt.Fprint(s.Stderr, ownUsageLines)
	}
	return s.fatal()
}

const ownUsageLines = "\tipseckey [ --engine address ] [ --kernel name ] [ --color when ]\n" +
	"\t         [ --json [ --show-keys ] ] [ --compat[=quirk,...] ] ...\n" +
	"\tipseckey ... getspi [sa_type] src addr dst addr\n" +
	"\t         [spi-min n] [spi-max n]\n" +
	"\tipseckey ... explain [ file | - | hex... ]\n" +
	"\tipseckey completion { bash | zsh | fish }\n" +
	"\tipseckey --help | --version\n"

package ipseckey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// verb is what a command word means.
type verb int

const (
	verbUnknown verb = iota
	verbAdd          // add, update, update-pair
	verbFind         // delete, delete-pair, get
	verbFlush
	verbDump
	verbSave
	verbMonitor
	verbPassive
	verbHelp
	verbQuit
	verbGetSPI     // ours
	verbExplain    // ours
	verbCompletion // ours
)

// command is one row of the table of commands.
type command struct {
	name string
	verb verb
	typ  wire.MsgType
	help string // what help NAME prints
}

const monitorHelp = "pmonitor, passive_monitor - Monitor PF_KEY messages that\n" +
	"                            reply to all PF_KEY sockets.\n"

func typeArguments(verb string) string {
	return "\nOptional arguments:\n" +
		"all        " + verb + " all SAs\n" +
		"esp        " + verb + " just ESP SAs\n" +
		"ah         " + verb + " just AH SAs\n" +
		"<number>   " + verb + " just SAs with type given by number\n\n"
}

var commands = []command{
	{"add", verbAdd, wire.MsgAdd, "add\t - Add a new security association (SA)\n"},
	{"update", verbAdd, wire.MsgUpdate, "update\t - Update an existing SA\n"},
	{"update-pair", verbAdd, wire.IllumosMsgXUpdatePair, "update-pair - Update an existing pair of SA's\n"},
	{"delete", verbFind, wire.MsgDelete, "delete - Delete an SA\n"},
	{"delete-pair", verbFind, wire.IllumosMsgXDelPair, "delete-pair - Delete a pair of SA's\n"},
	{"get", verbFind, wire.MsgGet, "get - Display an SA\n"},
	{"flush", verbFlush, wire.MsgFlush, "flush - Delete all SAs\n" + typeArguments("delete")},
	{"dump", verbDump, wire.MsgDump, "dump - Display all SAs\n" + typeArguments("display")},
	{"save", verbSave, wire.MsgDump, "save\t    - Saves all SAs to a file\n"},
	{"monitor", verbMonitor, wire.MsgXPromisc, "monitor - Monitor all PF_KEY reply messages.\n"},
	{"passive_monitor", verbPassive, 0, monitorHelp},
	{"pmonitor", verbPassive, 0, monitorHelp},
	{"help", verbHelp, 0, helpHelp},
	{"?", verbHelp, 0, helpHelp},
	{"quit", verbQuit, 0, "quit, exit - Exit the program\n"},
	{"exit", verbQuit, 0, "quit, exit - Exit the program\n"},
}

const helpHelp = "help\t    - Display list of commands\n" +
	"help <cmd> - Display help for command\n" +
	"help attr  - Display possible SA attributes\n"

var ownCommands = []command{
	{"getspi", verbGetSPI, wire.MsgGetSPI,
		"getspi - Reserve an SPI: getspi [sa_type] src A dst B [spi-min N] [spi-max N]\n"},
	{"explain", verbExplain, 0, "explain - Print a message with its meaning: explain [file | - | hex...]\n"},
	{"completion", verbCompletion, 0, "completion - Print completions for a shell: completion bash|zsh|fish\n"},
}

func (s *session) findCommand(name string) (command, bool) {
	tables := [][]command{commands, ownCommands}
	if s.keeps(quirkNoExtras) {
		tables = tables[:1]
	}
	for _, t := range tables {
		for _, c := range t {
			if c.name == name {
				return c, true
			}
		}
	}
	return command{}, false
}

const helpText = "Commands\n--------\n" +
	"?, help  - Display this list\n" +
	"help <cmd> - Display help for command\n" +
	"help attr  - Display possible SA attributes\n" +
	"quit, exit - Exit the program\n" +
	"monitor - Monitor all PF_KEY reply messages.\n" + monitorHelp +
	"\nThe following commands are of the form:\n    <command> {SA type} {attribute value}*\n\n" +
	"add (interactive only) - Add a new security association (SA)\n" +
	"update (interactive only) - Update an existing SA\n" +
	"update-pair (interactive only) - Update an existing SA pair\n" +
	"delete - Delete an SA\n" +
	"delete-pair - Delete an SA pair\n" +
	"get - Display an SA\n" +
	"flush - Delete all SAs\n" +
	"dump - Display all SAs\n" +
	"save - Saves all SAs to a file\n"

// help prints what there is to say about a topic.
func (s *session) help(words []word) {
	if s.json {
		s.helpJSON(words)
		return
	}
	if len(words) == 0 {
		io.WriteString(s.Stdout, helpText)
		if !s.keeps(quirkNoExtras) {
			for _, c := range ownCommands {
				io.WriteString(s.Stdout, c.help)
			}
		}
		return
	}
	topic := words[0].text
	if topic == "attr" {
		io.WriteString(s.Stdout, "\nSA attributes:\n")
		for i, k := range keywords {
			if i%3 == 0 {
				io.WriteString(s.Stdout, "\n")
			}
			fmt.Fprintf(s.Stdout, "    %-15.15s", k.name)
		}
		io.WriteString(s.Stdout, "\n")
		if s.kame() && !s.keeps(quirkNoExtras) {
			io.WriteString(s.Stdout, "\nFor engines of Linux, NetBSD and FreeBSD:\n\n")
			for _, k := range kameKeywords {
				fmt.Fprintf(s.Stdout, "    %s", k.name)
			}
			io.WriteString(s.Stdout, "\n")
		}
		return
	}
	c, ok := s.findCommand(topic)
	if !ok {
		fmt.Fprintf(s.Stdout, "%s: Unknown command\n", topic)
		return
	}
	io.WriteString(s.Stdout, c.help)
	if s.Terminal.Stdout && !s.compat {
		io.WriteString(s.Stdout, moreHelp[c.verb])
	}
}

// moreHelp is what a terminal gets behind the help of the original.
var moreHelp = map[verb]string{
	verbAdd: `
    add {ah | esp} spi N src ADDRESS dst ADDRESS [KEYWORD VALUE]...

    add esp spi 0x1000 src 192.0.2.2 dst 192.0.2.1 \
        encr_alg aes encrkey KEY auth_alg sha256 authkey KEY

A key is hexadecimal: 32 digits for aes, 64 for sha256. "help attr" lists the
keywords; Tab completes them. update and update-pair take the same.
`,
	verbFind: `
    get {ah | esp} spi N dst ADDRESS [src ADDRESS] [inbound | outbound]

delete and delete-pair take the same.
`,
	verbSave: `
    save {all | ah | esp} [FILE]

"ipseckey -f FILE" loads it again.
`,
}

// helpJSON prints help as objects: all commands, those of one name, or all keywords.
func (s *session) helpJSON(words []word) {
	if len(words) > 0 && words[0].text == "attr" {
		all := keywords
		if s.kame() {
			all = slices.Concat(keywords, kameKeywords)
		}
		for _, k := range all {
			s.emitJSON(HelpEntry{Help: k.name, Keyword: true})
		}
		return
	}
	for _, c := range slices.Concat(commands, ownCommands) {
		if len(words) == 0 || c.name == words[0].text {
			s.emitJSON(HelpEntry{Help: c.name, Text: strings.TrimSpace(c.help)})
		}
	}
}

// saType reads an SA type word. -1 is what the original keeps for unknown, so a number that becomes it is unknown too.
func saType(text string) (int32, bool) {
	switch {
	case strings.EqualFold(text, "all"):
		return 0, true
	case strings.EqualFold(text, "ah"):
		return int32(wire.SATypeAH), true
	case strings.EqualFold(text, "esp"):
		return int32(wire.SATypeESP), true
	}
	v, ok := parseUint(text)
	n := int32(uint32(v))
	return n, ok && n != -1
}

// saType is the SA type of what a command says. A number is the engine's own, but for those of AH and ESP.
func (s *session) saType(n int32) wire.SAType {
	switch t := wire.SAType(uint8(n)); t {
	case wire.SATypeAH, wire.SATypeESP:
		return t
	}
	return s.dial.SAType(uint8(n))
}

// execute runs one command. The error is errAbandon when the command failed and that was said, errSent when it got as
// far as an exchange with a destination, an *exit when the run ends, nil otherwise.
func (s *session) execute(ctx context.Context, words []word) error {
	err := s.perform(ctx, words)
	s.finish(s.show(0), err)
	return err
}

func (s *session) perform(ctx context.Context, words []word) error {
	name := words[0].text
	c, known := s.findCommand(name)
	switch c.verb {
	case verbQuit:
		return s.quit()
	case verbHelp:
		if s.mode == modeFile {
			if s.keeps(quirkSilentHelp) {
				return errAbandon
			}
			return s.refuse("Help")
		}
		s.help(words[1:])
		return nil
	case verbMonitor, verbPassive:
		if s.mode == modeFile {
			err := s.refuse("Monitor")
			if s.keeps(quirkTwice) {
				s.unknownCommand()
				s.refuse("Monitor")
			}
			return err
		}
		return s.monitor(ctx, c.verb == verbMonitor)
	case verbGetSPI:
		return s.getSPI(ctx, words)
	case verbExplain:
		return s.runExplain(ctx, words)
	case verbCompletion:
		return s.completion(words)
	}
	var satype int32
	if len(words) > 1 {
		t, ok := saType(words[1].text)
		if ok {
			satype = t
		} else {
			s.report(s.text("Unknown SA type (%s).", []any{s.show(1)}) + "\n")
			s.hints([]problem{{at: 1, instead: []string{"all", "ah", "esp"}}})
			if s.mode != modeOneShot || !s.keeps(quirkLenientCommand) {
				return errAbandon
			}
		}
	}
	switch c.verb {
	case verbAdd:
		if s.mode == modeOneShot {
			s.complain("ipseckey: can't do ADD or UPDATE from the command line.\n\n")
			return &exit{ExitFailed}
		}
		return s.add(ctx, name, c.typ, satype)
	case verbFind:
		return s.find(ctx, name, c.typ, satype)
	case verbFlush:
		return s.tooMany(words, func() error {
			if s.check {
				s.added++
				return nil
			}
			err := s.flush(ctx, satype)
			if err == nil && s.mode == modeFile {
				s.added++
			}
			return err
		})
	case verbDump:
		if s.mode == modeFile {
			return s.refuse("Dump")
		}
		return s.tooMany(words, func() error { return s.dump(ctx, satype, nil) })
	case verbSave:
		return s.save(ctx, words, satype)
	}
	if !known {
		return s.unknownCommand()
	}
	return nil
}

// refuse says that a command is not for files.
func (s *session) refuse(what string) error {
	s.report(what + " not appropriate in config file.\n")
	return errAbandon
}

// errUnknown is no failure at the prompt, and counts as one in a file.
var errUnknown = errors.New("unknown command")

func (s *session) unknownCommand() error {
	s.complain(fmt.Sprintf("ipseckey: Unknown command (%s).\n\n", s.show(0)))
	var names []string
	for _, c := range slices.Concat(commands, ownCommands) {
		if c.verb < verbGetSPI || !s.keeps(quirkNoExtras) {
			names = append(names, c.name)
		}
	}
	err := s.usage()
	s.hints([]problem{{at: 0, instead: names}})
	if err != nil {
		return err
	}
	return errUnknown
}

// tooMany runs flush or dump unless it has more words than it takes.
func (s *session) tooMany(words []word, do func() error) error {
	if len(words) <= 2 {
		return do()
	}
	text := "Too many arguments for " + words[0].text + " command\n"
	s.report(text)
	s.hints([]problem{{at: 2}})
	if s.mode != modeOneShot || !s.keeps(quirkLenientCommand) {
		return errAbandon
	}
	if err := do(); err != nil {
		return err
	}
	s.report(text)
	return nil
}

// quit ends the run.
func (s *session) quit() error {
	switch {
	case s.mode == modeFile && !s.keeps(quirkQuitHides):
		s.parsed-- // this one
		return s.verdict()
	case s.mode == modeLoop && s.failed && !s.keeps(quirkStdinExit0) && !s.Terminal.Stdin:
		return &exit{ExitFailed}
	}
	return &exit{ExitDone}
}

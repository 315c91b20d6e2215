package ipseckey

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// shells are those that completion prints completions for.
var shells = []string{"bash", "zsh", "fish"}

// option is one row of the table of options, for usage in completions and the manual.
type option struct {
	name  string // "-n", "--json"
	value string // what it takes, or ""
	text  string
}

var optionTable = []option{
	{"-n", "", "numeric: take and print addresses and protocols as numbers"},
	{"-v", "", "verbose: print messages before they are sent"},
	{"-p", "", "paranoid: print keys as XX"},
	{"-f", "FILE", "run the commands of a file"},
	{"-c", "FILE", "check the commands of a file"},
	{"-s", "FILE", "save all SAs to a file"},
	{"--engine", "ADDRESS", "the key engine to talk to"},
	{"--kernel", "NAME", "the kernel whose PF_KEY to speak"},
	{"--json", "", "print one JSON object a line"},
	{"--show-keys", "", "print key bytes with --json and explain"},
	{"--color", "WHEN", "use colour: auto (on a terminal), always or never"},
	{"--compat", "", "behave as the original; --compat=QUIRK,... in some things"},
	{"--help", "", "print the commands and options"},
	{"--version", "", "print the version"},
}

// completion runs our own command completion SHELL.
func (s *session) completion(words []word) error {
	shell := ""
	if len(words) == 2 {
		shell = words[1].text
	}
	text, ok := completionScript(shell)
	if !ok {
		s.complain(fmt.Sprintf("ipseckey: completion %q: say for which shell: %s\n", shell, strings.Join(shells, ", ")))
		s.hints([]problem{{at: 1, instead: shells}})
		return errAbandon
	}
	fmt.Fprint(s.Stdout, text)
	return nil
}

// completionScript is what a shell must read to complete the words of the command: "bash", "zsh" or "fish".
func completionScript(shell string) (string, bool) {
	switch shell {
	case "bash":
		return bashScript(), true
	case "zsh":
		// zsh reads what bash does, word lists being all there is.
		return "#compdef ipseckey\nautoload -U +X bashcompinit && bashcompinit\n" + bashScript(), true
	case "fish":
		return fishScript(), true
	}
	return "", false
}

func optionNames() (names []string) {
	for _, o := range optionTable {
		names = append(names, o.name)
	}
	return names
}

// kernelNames are what --kernel takes.
func kernelNames() (names []string) {
	for _, d := range wire.Dialects() {
		names = append(names, d.Name)
	}
	return names
}

// engineAddresses are how what --engine takes begins.
func engineAddresses() (names []string) {
	for _, k := range kernelNames() {
		names = append(names, k+":")
	}
	return append(names, "af_key:")
}

// shellCommands are the words that the command line takes as commands.
func shellCommands() (names []string) {
	for _, n := range commandNames() {
		if c, _ := (&session{}).findCommand(n); c.verb != verbAdd && c.verb != verbQuit {
			names = append(names, n)
		}
	}
	return names
}

func bashScript() string {
	algs := func(rows []Algorithm) string {
		var names []string
		for _, a := range rows {
			if a.ID != 0 {
				names = append(names, a.Names[0])
			}
		}
		return strings.Join(names, " ")
	}
	stock := StockAlgorithms()
	return strings.NewReplacer(
		"@OPTIONS@", strings.Join(optionNames(), " "),
		"@COMMANDS@", strings.Join(shellCommands(), " "),
		"@HELP@", strings.Join(append(commandNames(), "attr"), " "),
		"@FIND@", strings.Join(findKeywordNames, " "),
		"@SHELLS@", strings.Join(shells, " "),
		"@KERNELS@", strings.Join(kernelNames(), " "),
		"@ENGINES@", strings.Join(engineAddresses(), " "),
		"@RESERVE@", strings.Join(append([]string{"ah", "esp"}, reserveKeywordNames...), " "),
		"@AUTH@", algs(stock.Auth), "@ENCR@", algs(stock.Encrypt),
	).Replace(`# Completions of ipseckey(8). To have them: eval "$(ipseckey completion bash)"
_ipseckey() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= i
    COMPREPLY=()
    case $prev in
    -*f|-*c|-*s) [[ $prev != --* ]] && { COMPREPLY=($(compgen -f -- "$cur")); return; } ;;
    --kernel) COMPREPLY=($(compgen -W "@KERNELS@" -- "$cur")); return ;;
    --color) COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    --engine) COMPREPLY=($(compgen -W "@ENGINES@" -- "$cur")); return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --engine|--kernel|--color) ((i++)) ;;
        -*) ;;
        *) verb=${COMP_WORDS[i]}; break ;;
        esac
    done
    case $verb in
    "")
        if [[ $cur == -* ]]; then
            COMPREPLY=($(compgen -W "@OPTIONS@" -- "$cur"))
        else
            COMPREPLY=($(compgen -W "@COMMANDS@" -- "$cur"))
        fi ;;
    help) COMPREPLY=($(compgen -W "@HELP@" -- "$cur")) ;;
    flush|dump) ((COMP_CWORD == i + 1)) && COMPREPLY=($(compgen -W "all ah esp" -- "$cur")) ;;
    save)
        if ((COMP_CWORD == i + 1)); then
            COMPREPLY=($(compgen -W "all ah esp" -- "$cur"))
        else
            COMPREPLY=($(compgen -f -- "$cur"))
        fi ;;
    delete|delete-pair|get)
        if ((COMP_CWORD == i + 1)); then
            COMPREPLY=($(compgen -W "ah esp" -- "$cur"))
        else
            COMPREPLY=($(compgen -W "@FIND@" -- "$cur"))
        fi ;;
    getspi) COMPREPLY=($(compgen -W "@RESERVE@" -- "$cur")) ;;
    explain) COMPREPLY=($(compgen -f -- "$cur")) ;;
    completion) COMPREPLY=($(compgen -W "@SHELLS@" -- "$cur")) ;;
    esac
}
complete -o default -F _ipseckey ipseckey
`)
}

func fishScript() string {
	var b strings.Builder
	b.WriteString(
		"# Completions of ipseckey(8). To have them: ipseckey completion fish | source\ncomplete -c ipseckey -f\n")
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `\'`) + "'" }
	for _, o := range optionTable {
		flag := "-s " + strings.TrimPrefix(o.name, "-")
		if long, ok := strings.CutPrefix(o.name, "--"); ok {
			flag = "-l " + long
		}
		switch o.value {
		case "FILE":
			flag += " -r -F"
		case "NAME":
			flag += " -x -a " + quote(strings.Join(kernelNames(), " "))
		case "WHEN":
			flag += " -x -a 'auto always never'"
		case "ADDRESS":
			flag += " -x -a " + quote(strings.Join(engineAddresses(), " "))
		}
		fmt.Fprintf(&b, "complete -c ipseckey %s -d %s\n", flag, quote(o.text))
	}
	for _, c := range slices.Concat(commands, ownCommands) {
		if !slices.Contains(shellCommands(), c.name) {
			continue
		}
		text, _, _ := strings.Cut(strings.TrimSpace(c.help), "\n")
		if _, after, ok := strings.Cut(text, "- "); ok {
			text = after
		}
		fmt.Fprintf(&b, "complete -c ipseckey -n __fish_use_subcommand -a %s -d %s\n", c.name, quote(text))
	}
	for _, line := range [][2]string{
		{"flush dump save", "all ah esp"}, {"delete delete-pair get", "ah esp " + strings.Join(findKeywordNames, " ")},
		{"getspi", "ah esp " + strings.Join(reserveKeywordNames, " ")},
		{"help", strings.Join(append(commandNames(), "attr"), " ")},
		{"completion", strings.Join(shells, " ")},
	} {
		fmt.Fprintf(&b, "complete -c ipseckey -n '__fish_seen_subcommand_from %s' -a '%s'\n", line[0], line[1])
	}
	b.WriteString("complete -c ipseckey -n '__fish_seen_subcommand_from save explain' -F\n")
	return b.String()
}

package ipseckey

// quirk is a set of habits of the original that a plain run mends and a run with --compat keeps.
type quirk uint64

// The quirks. The comment says what the original does; what we do instead stands in [Quirks].
const (
	quirkRootOnly       quirk = 1 << iota // refuses every real uid but 0, before it looks at its arguments
	quirkErrorsOnStdout                   // prints the errors of a command on standard output
	// one-shot: acts on all types when the type is unknown, and in spite of too many words
	quirkLenientCommand
	// an unknown algorithm, identity type or a key bit count that is too big is printed, and the message sent
	quirkOnlyPrinted
	quirkLarvalState   // a state it does not know is larval; numbers are not known
	quirkSilentCut     // numbers are cut to the width of their field
	quirkWarningsBlock // two of the errors that stop a command are worded as warnings
	quirkCrash         // reads words that are not there, and ends with a segmentation fault
	quirkFindPorts     // delete and get lose ports and protocol where an address is given
	quirkLabelOrder    // outer-label and implicit-label work only after label
	quirkFindDst6      // dst6 of delete and get takes IPv4 addresses too
	// in a file a failed exchange counts as a success, and the command goes on behind it
	quirkErrnoIsSuccess
	quirkStdinExit0 // commands from a pipe end with status 0 whatever failed
	quirkQuitHides  // quit in a file ends with status 0 whatever failed
	quirkSilentHelp // help in a file is refused without a word
	// counts a success for each destination, so that one command can outweigh another's failure
	quirkCountTargets
	quirkCheckSends   // -c needs root and a socket, and flushes under the service manager
	quirkEchoKeys     // shows rejected commands with their keys
	quirkGluedComment // a comment inside a continued command becomes part of it
	// save writes its warning into the middle of an add that is not mature, which cuts it in two
	quirkSaveSplits
	quirkSaveLoses  // save drops direction and pairing
	quirkSeconds32  // the readable form of seconds is that of the low 32 bits
	quirkAlarmExits // a reply that does not come ends the program even at the prompt
	// save knows no time limit, and after a failed save at the prompt nothing does
	quirkSaveBlocks
	quirkPromptOnPipe // prints its prompt after commands from a pipe
	quirkLastLine     // loses or misreads a last line without a newline
	// drops a line of exactly 4095 bytes from a pipe; what it does with longer ones, a warning without end, is not kept
	quirkLongLine
	// with -n "already exists" names the last address of the command instead of the destination
	quirkWrongAddress
	quirkLenientPrefix // reads any text as a prefix length
	// without -n reads IPv4 literals as inet_addr does: 10 is 0.0.0.10, 010.1.1.1 is 8.1.1.1
	quirkInetAddr
	// failures that come from the key engine exit with 1 instead of 95 under the service manager
	quirkBailExits1
	// one-shot delete and get without a destination end with status 0 although they were refused
	quirkNoDstExit0
	// takes what an earlier message left in the buffer for the rest of a reply that is too short
	quirkStaleReply
	quirkTwice          // prints some refusals twice
	quirkRunTogether    // leaves out the newline behind two errors
	quirkCutTexts       // cuts messages to 1023 bytes
	quirkNoExtras       // knows nothing of what we added: getspi, and more lines of help and usage
	quirkIntegrityWords // reads the integrity bitmap of a label from the wrong place
	quirkSilentVerdict  // does not say how much of a file with errors was carried out
	// prints what was collected along with a warning about replay, a vague address or several sources, and forgets it
	quirkWarningForgets

	quirkEnd
)

// allQuirks is the original.
const allQuirks = quirkEnd - 1

// Quirks describes the habits of the original: the name that --compat=NAME takes, and what a plain run does instead. It
// belongs to the caller.
func Quirks() []struct{ Name, Instead string } {
	return append([]struct{ Name, Instead string }(nil), quirkTexts[:]...)
}

var quirkTexts = [...]struct{ Name, Instead string }{
	{"root-only", "anyone may run it; the engine decides who may talk to it"},
	{"errors-on-stdout", "errors go to standard error"},
	{"lenient-command", "refused, exit 1"},
	{"only-printed", "an error; nothing is sent"},
	{"unknown-is-larval", "the numbers 0 to 3 are accepted, anything else is an error"},
	{"silent-cut", "a number that does not fit its field is an error"},
	{"warnings-block", "they are called errors"},
	{"crash", "inbound and outbound may stand anywhere; a missing word is an error"},
	{"find-ports", "ports and protocol go into the addresses"},
	{"label-order", "an outer label stands on its own"},
	{"find-dst6", "dst6 takes IPv6 addresses only"},
	{"errno-is-success", "a failure; the next command follows"},
	{"stdin-exit-0", "exit 1 if a command from a pipe failed"},
	{"quit-hides", "quit ends a file as its end does"},
	{"silent-help", "the refusal is printed"},
	{"count-targets", "a command counts once"},
	{"check-sends", "-c needs nobody and sends nothing"},
	{"echo-keys", "key digits are shown as X"},
	{"glued-comment", "comment lines are skipped everywhere"},
	{"save-splits", "the warning stands before the add; a larval SA is only mentioned, a replay counter of 0 left out"},
	{"save-loses", "inbound and outbound are written, and an update with pair-spi follows"},
	{"seconds-32", "all 64 bits are used"},
	{"alarm-exits", "reported, and the prompt comes back"},
	{"save-blocks", "the time limit holds, and an interrupt ends it"},
	{"prompt-on-pipe", "no prompt unless standard input is a terminal"},
	{"last-line", "it is read like any other"},
	{"long-line", "one error for each line"},
	{"wrong-address", "the destination is named"},
	{"lenient-prefix", "strictly decimal, and not longer than the address"},
	{"inet-addr", "four decimal numbers"},
	{"bail-exits-1", "95"},
	{"no-destination-exit-0", "exit 1"},
	{"stale-reply", "such a reply is ignored"},
	{"twice", "printed once"},
	{"run-together", "every error has its line"},
	{"cut-texts", "they are printed whole"},
	{"no-extras", "getspi is a command, help and usage tell of what is ours"},
	{"integrity-words", "it is read from where it is"},
	{"silent-verdict", "the last line says how many commands were carried out, and where the others stand"},
	{"warning-forgets", "errors stop the command, whatever was warned of"},
}

// quirkByName finds a quirk by its name in [Quirks].
func quirkByName(name string) (quirk, bool) {
	for i, t := range quirkTexts {
		if t.Name == name {
			return 1 << i, true
		}
	}
	return 0, false
}

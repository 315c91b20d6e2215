// Package ipseckey is the command ipseckey(8) of illumos as a package: its grammar turned into PF_KEY messages, and
// PF_KEY messages turned into its listings.
//
// A [Program] is one run of the command. Everything it touches is given to it (streams, files, names, clock, the
// socket), so a run can be repeated exactly; cmd/ipseckey fills in those of the machine. [Program.Run] returns the exit
// status.
//
//	add esp spi 0x1000 src 192.0.2.10 dst 198.51.100.20 encr_alg aes encrkey 00112233445566778899aabbccddeeff
//
// How a command goes: the loop reads a line and joins continued ones (line.go), splits it into words (word.go) and
// looks up the command (command.go). add, update and update-pair (add.go), delete, delete-pair and get (find.go)
// collect their errors and print them together; nothing is sent if there was one. What is sent goes through one
// exchange with the key engine (exchange.go), what comes back is judged (send.go) or listed (list.go), saved (save.go)
// or printed as JSON (json.go).
//
// Behind what the original prints, a terminal gets more: where in the command a problem is (report.go), what an errno
// and a diagnostic mean (refusal.go, meaning.go), a table of the SAs of a dump (summary.go), how far a file is
// (progress.go), and completion at a prompt whose editor is given as well (complete.go). explain (explain.go) reads any
// message.
//
// Algorithms that the engine does not have are refused before they are sent (supported.go). With engines of other
// kernels the command speaks their dialect as far as it has words for it (dialect.go).
//
// The original has habits that surprise or harm. Each has a name ([Quirks]); a plain run mends them, a run with
// --compat keeps all of them, so that its bytes, texts and exit codes are those of the original, byte for byte.
//
// Key bytes are printed where the original prints them: in listings and save files. They are never part of an error
// message, of the line that is shown beside one, of JSON unless asked for, or of a Go error; --compat echoes rejected
// commands as they were typed, because the original does.
package ipseckey

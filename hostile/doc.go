// Package hostile makes a kernel lie, so that one sees what a program makes of it.
//
// A [Kernel] stands between an engine and whoever uses its sockets, is itself a [pfkey.Engine], and spoils messages on
// their way as a [Script] says. A script is text, a line for each fault:
//
//	seed 7                              # chances and sizes are the same in every run with the same seed
//	drop REGISTER                       # answers and events of this type get lost
//	lost: drop ACQUIRE,EXPIRE events    # the same, under a name of its own, of events only
//	errno ENOBUFS ADD times 1           # the first answer to an ADD says so, with nothing behind its header
//	strip LIFETIME_CURRENT GET after 2  # from the third on
//	truncate 40 * chance 10             # any message, one out of ten
//
// Each line is
//
//	[NAME:] FAULT [ARGUMENT] MESSAGES [answers|events] [after N] [times N] [chance PERCENT]
//
// MESSAGES are names of message types separated by commas, or * for all. Without a NAME a fault is called after itself
// and the messages, such as "drop REGISTER". Every fault counts how often it was done ([Kernel.Counters]), so that a
// test can prove that it was.
//
//	drop               the message is lost
//	delay N            it comes after N more requests of its socket
//	duplicate          it comes twice
//	reorder            it comes behind the next one, if that waits already
//	truncate [N]       only its first N bytes come; without N some number of them
//	strip EXTENSION    it comes without that extension
//	add EXTENSION [HEX]  it comes with one more extension at its end, with these bytes in it, or 4 of zero
//	length EXTENSION N   that extension claims to be N words long
//	errno ERRNO        its header says that the request failed, and nothing follows
//	refuse ERRNO       send(2) of the request fails, and the kernel never hears of it
//	full N             this message and the N-1 behind it find no room, and are lost
//	pid N, seq N       the header has that number instead of the right one
//
// Extensions and messages have the names of the dialect, which a listing of a message shows. Faults are tried in the
// order of the lines; a message that one has made disappear is not seen by those behind it.
package hostile

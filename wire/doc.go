// Package wire is the message format of PF_KEY version 2 (RFC 2367) and of the dialects that operating systems made of
// it.
//
// A message is a base header of 16 bytes and a row of extensions:
//
//	0        1        2        3        4                 6
//	+--------+--------+--------+--------+-----------------+-----------------+
//	|version | type   | errno  | satype | length in words | reserved        |
//	+--------+--------+--------+--------+-----------------+-----------------+
//	| sequence number                   | process id                        |
//	+-----------------------------------+-----------------------------------+
//	| length in words | type            | the extension's own fields ...    |
//	+-----------------+-----------------+-----------------------------------+
//
// A word is 8 bytes. On the wire lengths count words; everywhere in this package's interface they are bytes, as int.
// Numbers are in the byte order of the host, SPIs, ports and addresses in network order; a [Dialect] knows the
// exceptions, and can be told another order with [Dialect.WithOrder].
//
// The bytes are the truth. [Dialect.Walk] visits the extensions where they lie, unknown and repeated ones included, and
// never reads past the data. The typed values ([SA], [Address], [Key] and so on) are made from one extension by a Parse
// method and turned into one by an Append method; what Append writes has zero in every padding and reserved byte.
// Whether a message means anything is not decided here: [Dialect.Validate] says whether it is well formed, the rest is
// each kernel's business.
//
// In Go a message type, an extension type, an SA type, an algorithm and a mode are symbols: [SATypeESP] is ESP in
// every dialect, whatever its number in a message. A number without a meaning survives as well. What a dialect does
// not have it does not write: a kernel refuses the message, and [Dialect.Lacks] says beforehand what is missing.
//
// [Dialect.Fields] tells a message field by field with the meaning of each, [Dialect.Format] prints that,
// [Dialect.Line] has a message on one line.
//
// Ownership: Walk and Parse return views into the message, valid as long as the message is not changed. Views never
// have spare capacity, so appending to one copies it. Append methods extend the slice they are given, like the built-in
// append.
//
// Key bytes are never printed: a [Key] formats as its length with every verb, as JSON and as a log value, and
// [Dialect.Format] hides them unless told otherwise.
//
// A Dialect is immutable and safe for concurrent use; so are all functions here as long as nobody changes the bytes
// they work on.
package wire

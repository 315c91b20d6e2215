// Package illumos is the key engine of the illumos kernel as of 2015: keysock, the SA database, ESP and AH, and as much
// of the IPsec policy as it takes to need SAs.
//
// The order of its files is that of a message: parse.go (keysock's checks and the dispatch), address.go and query.go
// (the stage that ESP and AH share), one file per message, who.go (who hears the answer). A packet comes in by
// packet.go.
//
// IP drops a packet before IPsec sees it for its header, checksum, lengths, options, routing headers or addresses
// (ipinput.go), with the settings of a host that is no router. Fragments are not put together: a protected one is
// dropped, another is delivered as it is. Packets for other hosts are taken as if they were for this one.
//
// Where the original follows a bad pointer, uses freed memory or shows memory it never wrote, this one refuses cleanly
// with the error that the original's other checks would give, and shows zero.
//
// # Locks
//
// Messages and ageing run under the engine's control lock, which guards the tables, the sockets' data and an SA's
// identity. Packets run without it. What they read and change of an SA is guarded by the SA's lock; the SA database is
// seen by them through an index (inbound), the outbound tables' own lock, and the lock of the acquire records, each a
// leaf.
package illumos

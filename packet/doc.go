// Package packet is the token of a packet on its way through an engine, and the books that are kept about it.
//
// A [Packet] is injected into a [Ledger], moves through an engine, may wait in the [Queue] of a LARVAL SA or of an
// acquire record, and ends once, with one [Verdict] whose [Reason] comes from the one registry. The ledger tells at any
// moment where every packet is: injected = ended + held + in flight.
package packet

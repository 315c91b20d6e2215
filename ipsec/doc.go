// Package ipsec is ESP and AH as functions, and the token of a packet on its way.
//
// A [Packet] is injected into a [Ledger], moves through an engine, may wait on a LARVAL SA or an acquire record, and ends
// once, with one [Verdict] whose [Reason] comes from the one registry.
package ipsec

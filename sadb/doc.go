// Package sadb is one security association and what it does to packets: its lock, its state, the packets it holds while
// LARVAL and its counters; and the index by which packets find it.
//
// It carries mechanism, never a kernel's policy. It has no clock (times are numbers that callers bring), no bytes of
// messages and no errno. A kernel's SA is its own struct that embeds [SA]; the kernel's further fields that packets
// change are guarded by the same lock.
//
// # The race
//
// A packet may arrive for a LARVAL SA while key management promotes it. Two rules, each one critical section, make sure
// that it is neither lost nor left behind:
//
//  1. Check and act under one lock. [SA.Offer] puts a packet into the queue only while the SA's lock is held and its
//     state, read under that lock, is LARVAL. Otherwise the packet goes back to the caller with the state seen.
//  2. Leaving LARVAL takes the queue along. [SA.Become], the only writer of the state, empties the queue in the
//     critical section that changes it.
//
// The third, conservation, is counted by [packet.Ledger]. The two ways in which real kernels broke these rules are kept
// as faults, in fault.go.
//
// # Locks
//
// The SA's lock and the one that writers of an [Index] take are leaves: whoever holds one takes no other lock, calls
// nobody, and reports nothing. Finding an SA takes no lock.
package sadb

// Package kame is what the key engines of NetBSD, FreeBSD and Darwin have in common: they come from one ancestor, the
// KAME project. It knows none of its heirs. What differs is on the heir's [Page], in tables first and as functions
// ([Heir]) where tables end; the heirs are the packages netbsd and freebsd beside this one.
//
// A file has the name of what it is about, as in the other kernels. A function follows the function of netipsec/key.c,
// netipsec/keysock.c, netipsec/ipsec.c and their like that its comment names.
//
// # Locks
//
// Requests and timers run under the control lock of the engine. Packets never take it: they find policies and SAs
// without a lock, count under the lock of the SA, and post what is control work.
package kame

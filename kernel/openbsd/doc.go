// Package openbsd is OpenBSD (current of August 2026): its PF_KEY, its SAs, which are called tdb there, its flows and
// its packets. It has an ancestry of its own, the NRL's, and nothing in common with KAME's heirs but RFC 2367.
//
// A file has the name of what it is about, as in the other kernels. A function follows the function of net/pfkeyv2.c,
// netinet/ip_spd.c, netinet/ip_ipsp.c, netinet/ipsec_input.c and their like that its comment names.
//
// Four tables say which extensions a message may have and must have, on its way in and out ([extensions]). Replies are
// the request itself with some extensions taken out and others put in, always in the order of their numbers.
//
// # Locks
//
// Requests and timers run under the control lock of the engine. Packets never take it: they find flows and SAs under
// leaves, count under the lock of the SA, and post what is control work.
package openbsd

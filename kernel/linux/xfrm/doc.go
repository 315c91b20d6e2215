// Package xfrm is Linux' transforms: the databases of states and policies, their timers, and the way of packets through
// them. It knows nothing of PF_KEY: key managers talk to it in the words of package transform.
//
// A LARVAL SA keeps no packets: they are dropped, and counted under the name that /proc/net/xfrm_stat has for it. Every
// SA and every policy has a timer of its own, which looks at whole seconds of the wall clock but keeps the phase of the
// moment it was set.
//
// # What is left out
//
// Links have no largest packet and nothing is fragmented; the original cuts a large IPv6 packet before a tunnel, and
// its SA counts the pieces. Fragments are not put together: a protected one is dropped, another is delivered as it is.
// The host answers nothing by itself: no ICMP error and no TCP reset, which would go through policies and SAs as what
// programs send does.
//
// Of what IP does with a packet before IPsec sees it, headers, options, routing headers and addresses that no packet
// may have are looked at, as a host does with the settings that Linux begins with. Routes are not: there is no reverse
// path filter, packets for other hosts are forwarded, and protected ones are opened as if they were for this host. IPv4
// options that change on the way, such as a recorded route, stay as they came. Upper layers are not looked at: programs
// listen everywhere, and checksums of UDP and TCP are their business.
//
// # Locks
//
// The control lock guards everything but what says otherwise. Packets find SAs in an index without it, and policies in
// tables with locks of their own; what they change of an SA is under the SA's lock.
package xfrm

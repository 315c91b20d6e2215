// Package netlink is Linux' transforms as the host's own kernel has them: its databases of states and policies, its
// timers and its packets, reached by the messages of NETLINK_XFRM (<linux/xfrm.h>). To package afkey they are what
// package xfrm is.
//
// [Codec] is the messages: bytes to values of package transform and back. It builds everywhere. [Transforms] needs
// Linux, and CAP_NET_ADMIN in the network namespace that it stands on.
//
// # Two sockets
//
// Requests go out on one socket. What the kernel tells all key managers comes in on the other: netlink's groups of SAs,
// policies, expiries, MIGRATE and new mappings, and that of ACQUIREs while somebody wants them. The kernel queues such
// news before it acknowledges the request that caused it. So every request is: send, wait for the acknowledgement, read
// the news until there is none. A request's number and process id are those of the PF_KEY message, and the news repeats
// them: results of our own and of others take one way.
//
// # Memory
//
// Netlink does not say all that PF_KEY shows. The rest is remembered: the phase of an SA, what the kernel would not
// take of it, its algorithms and ports for EXPIRE; and which policies were made here. At the start a dump fills the
// memory; then it does not know which SAs are DYING. When news is lost (ENOBUFS), two dumps are compared with the
// memory, and the difference is told as news by nobody.
//
// # Why no library
//
// The numbers in the header must be the client's, 0 included. github.com/mdlayher/netlink puts its own in the place of
// a 0 and refuses answers to others. github.com/vishvananda/netlink lets nobody choose them, and knows no news but
// EXPIRE. What is left is a dozen structures.
package netlink

// Package linux is the PF_KEY engine of Linux 6.1, as far as sockets and packets can tell. It joins two halves, which
// talk to each other in the words of package transform:
//
//   - afkey above: PF_KEY's messages, what is checked in which order, and who hears it;
//   - xfrm below: the databases of states and policies, their timers, and the way of packets through them.
package linux

// Package ip reads and makes the headers of IP datagrams: one walk over them for everybody, one maker, one checksum.
//
// A walk only reports: [Header.Parse] reads the first header, [Header.Step] goes over one IPv6 extension header. What
// is refused, and in which order, is the caller's business, because no two kernels agree.
//
// Nothing here keeps a slice, and no input makes anything panic. Only what makes a whole datagram allocates.
package ip

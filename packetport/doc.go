// Package packetport is the protocol of an engine's packet port, both sides: IP datagrams in, verdicts out.
//
// The packet port is a Unix socket of type SOCK_SEQPACKET ("unixpacket"), beside the engine's PF_KEY socket. An
// injector ([Client]) sends IP datagrams, each with a 64-bit id of its own: inbound ones are protected (ESP, AH, ESP in
// UDP) and go the way of a packet that came off the wire, outbound ones are plaintext. The engine ([Server]) answers
// every id with a verdict. A packet that is queued on an SA or held for an ACQUIRE gets two: the wait first, the final
// one later, under the same id. A connection that asks to watch is also told every final verdict of the engine, whoever
// injected the packet and whether or not its injector is still there.
//
// # Promises
//
//  1. Packets of one connection enter the engine in the order in which they were sent, one at a time.
//  2. Every injected packet is answered: by verdicts, by a refusal that carries its id, or by being counted in an
//     overrun.
//  3. Verdicts of one packet arrive in order, and nothing arrives for it after the final one.
//  4. A connection that does not read delays nobody. The engine keeps a bounded number of bytes for it; what does not
//     fit is lost, and where it is missing the stream holds an overrun frame with the number of lost ones.
//  5. A frame that cannot be decoded is refused with the place and the cause; it does no harm to those after it.
//
// # Frames
//
// One frame is one datagram. Integers are in network byte order. Byte 0 is the version, 1; byte 1 the type. Reserved
// bytes are zero, and there are none after the last field: a decoder refuses everything else. Lengths are in bytes. An
// IP datagram has 1 to 65575 bytes. Text is UTF-8.
//
// Injector to engine:
//
//	INJECT (0x01): one IP datagram
//	 0        1        2        3        4                                12           12+T
//	+--------+--------+--------+--------+--------------------------------+------------+-------------+
//	| 1      | 0x01   | dir    | T      | id                             | tunnel     | IP datagram |
//	+--------+--------+--------+--------+--------------------------------+------------+-------------+
//	dir     1 inbound, 2 outbound
//	id      chosen by the injector, not looked at by the engine
//	tunnel  T bytes: name of the tunnel interface an outbound packet belongs to; empty for none
//
//	WATCH (0x02): from now on tell all final verdicts
//	 0        1        2                 4
//	+--------+--------+-----------------+
//	| 1      | 0x02   | reserved        |
//	+--------+--------+-----------------+
//
// Engine to injector:
//
//	HELLO (0x81): the first frame of a connection
//	 0        1        2        3        4
//	+--------+--------+--------+--------+-----------+
//	| 1      | 0x81   | 0      | N      | name      |
//	+--------+--------+--------+--------+-----------+
//	name    N bytes: what the engine calls its kernel, such as "illumos"
//
//	VERDICT (0x82): what became of a packet
//	 0        1        2        3        4                                12
//	+--------+--------+--------+--------+--------------------------------+
//	| 1      | 0x82   | kind   | flags  | id                             |
//	+--------+--------+--------+--------+--------------------------------+
//	 12                16       17       18       20                24
//	+-----------------+--------+--------+--------+-----------------+
//	| SPI             | R      | C      | 0      | P               |
//	+-----------------+--------+--------+--------+-----------------+
//	 24       24+R      24+R+C   24+R+C+P
//	+--------+---------+--------+-------+
//	| reason | counter | packet | inner |
//	+--------+---------+--------+-------+
//	kind    1 delivered, 2 transmitted, 3 queued, 4 held, 5 dropped, 6 sent (made by the engine itself)
//	flags   0x01 the SPI is there; 0x02 told to a watcher: id is the engine's own number of the packet;
//	        0x04 inner was longer than an IP datagram can be and has been cut
//	SPI     of the protected packet: the injected one, or the one that goes out; 0 without its flag
//	reason  R bytes: the name of why it was dropped, the same for every kernel
//	counter C bytes: the name of the counter that the real kernel would have counted it in
//	packet  P bytes: to watchers, the injected packet as it was; else empty
//	inner   to the end: the IP packet that was handed on or goes out; empty if there is none
//
//	OVERRUN (0x83): frames are missing here
//	 0        1        2                 4                                12
//	+--------+--------+-----------------+--------------------------------+
//	| 1      | 0x83   | reserved        | number of lost frames          |
//	+--------+--------+-----------------+--------------------------------+
//
//	REFUSED (0x84): a frame was refused, or, as the first frame, the connection
//	 0        1        2                 4                                12
//	+--------+--------+-----------------+--------------------------------+------+
//	| 1      | 0x84   | reserved        | id                             | text |
//	+--------+--------+-----------------+--------------------------------+------+
//	id      of the refused INJECT; 0 if it had none
//	text    to the end, at most 1024 bytes: why
//
//	WATCHING (0x85): a WATCH took effect; every packet that ends after this frame was sent is told
//	 0        1        2                 4
//	+--------+--------+-----------------+
//	| 1      | 0x85   | reserved        |
//	+--------+--------+-----------------+
//
// A datagram without bytes cannot be told from the end of a SOCK_SEQPACKET connection; it is taken as that.
//
// # Locks
//
// Server.mu > queue.mu. The engine calls Packet.Done and the ledger's watchers with no lock of its own held; they take
// one queue.mu for the time of an append. No lock of this package is held while the engine is called.
package packetport

// Path is where the packet port of the engine whose PF_KEY socket is at path lies.
func Path(path string) string { return path + ".packets" }

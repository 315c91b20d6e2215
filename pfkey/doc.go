// Package pfkey is PF_KEY version 2 sockets (RFC 2367): the client of both kinds of kernel, emulated and real, the
// server that puts an emulated one behind a Unix socket, and the interfaces that such a kernel offers.
//
//	client, err := pfkey.Dial(ctx, "") // the engine that runs; "af_key:" is the host's own kernel
//	spi, err := client.GetSPI(ctx, pfkey.GetSPIParams{
//		Type: wire.SATypeESP, Src: pfkey.Host(peer), Dst: pfkey.Host(own),
//	})
//	for event, err := range client.Watch(ctx) { ... }
//
// An [Engine] is one running emulated kernel; in process its sockets are used as they are, with [Engine.Open]. A
// [Server] makes them reachable for other programs: every connection of a SOCK_SEQPACKET Unix socket, one message a
// datagram, is one PF_KEY socket. A [Client] speaks to such a server, to an engine in the same process, or to the
// host's own AF_KEY.
//
// # Clients
//
// A [Client] has a call for each message. It recognises an answer by its type, sequence and process number. Whatever
// else comes is an event, raw from [Client.Events] or typed from [Client.Watch]. Some messages succeed without an
// answer. The client sends a GET that finds nothing after them, so that their call returns at the right moment. All of
// this is the same over an engine, in process or behind a socket, and over the host's own kernel.
//
// The client does not send a message that the dialect does not have: the error names the message and wraps
// [errors.ErrUnsupported]. When the kernel refuses, the error holds a [unix.Errno] of this system, see [OpError].
//
// # What a Unix socket cannot say
//
// send(2) on a real PF_KEY socket may fail. A Unix socket takes every message, so the server has one rule for all
// kernels: what send would have returned comes back as a message, the first 16 bytes of the request with the errno in
// its place and a length of 2 words. A request of less than 16 bytes is dropped and counted. In process the errno
// itself is returned.
//
// # Order
//
// The server promises, for each connection:
//
//  1. Requests are handled one at a time, in the order they were sent.
//  2. Messages reach a client in the order in which the engine queued them for it.
//  3. What a request makes the engine say to other clients is written to them before the answer is written to the
//     asker, unless they have no room or somebody else is writing to them at that moment. So after reading an answer
//     you normally find in the other sockets what the request caused there, as on a real kernel.
//  4. A client that does not read delays nobody. Its messages stay in the engine's receive queue, whose bounds are
//     those of the emulated kernel.
//  5. A client's end is never closed first, except by [Server.Close]: on AF_KEY there is no end of file, and programs
//     that meet one spin.
//
// # Locks
//
// A connection has two: in (reading requests) and out (writing messages). The order in the whole module is in, out,
// then those of the engine; nobody who holds an out waits for an in, and nothing is waited for while either is held.
package pfkey

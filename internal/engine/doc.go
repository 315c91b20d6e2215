// Package engine is what every emulated kernel stands on: one running instance with its control lock, its PF_KEY
// sockets and their receive queues, its clock, its packet ledger and its host. The [Kernel] decides what a message
// means, who hears it, and how a packet goes.
//
// # Locks
//
// Control work (requests, timers, reads of a socket's queue) runs one piece at a time under Engine.mu. That is what all
// these kernels look like through a socket. It makes the order in which sockets hear things total. Packets never take
// Engine.mu on their way: if they did, promotion would exclude arrival, and the race this project exists for could not
// occur.
//
// The lock order of the whole module:
//
//	a connection's in, out  >  Engine.mu  >  one leaf (writers of the index, SA, Engine.posted; and of a kernel:
//	SAs by flow, acquire records, policy, encapsulating sockets)
//
// Two leaves are never held at once. No callback runs, no verdict is given and no packet is driven on while Engine.mu
// or a leaf is held: a kernel hands such work to [Engine.After].
//
// A packet that causes control work (an ACQUIRE to send, a lifetime that ran out) hands it to [Engine.Post] and goes
// on. Post runs it at once when the control lock is free. Otherwise the holder runs it before letting go of the lock.
// So nothing waits and nothing is forgotten, and in a single thread everything has happened when the call returns. The
// SAs and records that the work belongs to bound how much of it waits. What packets could ask for without end goes to
// [Engine.TryPost], which may refuse it.
//
// # Time
//
// The engine reads the time from one function given to it, or keeps a virtual clock that only [Engine.Advance] moves.
// [Engine.Next] says when it wants to be woken. Lifetimes of hours run in microseconds. The function may go back, as a
// clock that is set does: things are due by what it shows now, and whoever sleeps until Next looks again from time to
// time.
package engine

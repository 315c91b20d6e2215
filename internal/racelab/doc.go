// Package racelab makes the race between packets and key management happen: in every order that the code allows, or
// freely on real threads, or ten million times. It runs the real kernel in three variants: as Solaris was until 2008,
// as illumos is since, and as it is meant to be.
//
// # Every order
//
// A [Lab] has two inbound packets, an UPDATE and one way in which the SA ends, all for one LARVAL SA. Each of them is
// an actor that stops at the named points of the code (see [engine.Options]); from one stop to the next it runs
// undisturbed. A schedule is the order in which the actors are let go on, and its name is that order: one letter for
// each stretch. [Lab.Explore] plays all schedules there are, each on a new engine, and [Lab.Play] one by its name. The
// Promela model in the folder proof has the same actors and the same points, and as many schedules.
//
// [Lab.PlayTurns] plays an order of events that all variants have, such as [Crossing]. Each variant spells it with
// other letters, because its points are others.
//
// The points and what lies between them:
//
//	packet   ─ finds the SA, reads its state ─ store ─ checks and stores ─ stored ─ goes on with what it saw
//	         ─ accept ─ is charged and delivered
//	UPDATE   ─ fills the SA in ─ promote ─ changes the state, takes the queue ─ taken ─ drives on what it has taken
//	         ─ fills the SA in ─ take ─ takes the queue ─ taken ─ changes the state ─ drive ─ drives on
//	           (larval-unlocked)
//	         ─ fills the SA in ─ promote ─ changes the state ─ take ─ takes the queue ─ taken ─ drives on
//	           (larval-window)
//	ending   ─ finds the SA, unlinks it ─ bury ─ changes the state, takes the queue, drops it
//
// Requests and ageing hold the control lock from their beginning to the point taken (take under larval-window, drive
// under larval-unlocked), or to their end. One of them can therefore not begin while another is stopped before that;
// packets can.
package racelab

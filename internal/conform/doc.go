// Package conform plays recordings of real kernels on an emulated one and compares what comes back, byte for byte.
//
// A recording is a file of scenarios, one JSON object a line. A scenario starts with a fresh kernel and is a list of
// steps; a step is an action (open a socket, send a message, move the clock, inject a packet) and what the real kernel
// made of it.
//
// The work is in three parts that know nothing of each other, so that other formats and other targets fit in:
//
//   - reading ([Read]) turns files into [Scenario] values and refuses whatever it does not understand;
//   - playing drives a [Machine] through the actions of a scenario and writes down its own [Outcome] of each step;
//   - judging compares two lists of outcomes. Bytes that the recording marks as volatile obey a rule instead of being
//     equal.
//
// This package knows no kernel. What the recordings of one have of their own (operations with the types of their
// parameters, rules for volatile bytes, its host, deviations) is a [Kernel], in a package of its own below this one.
// Package kernels has the table of them.
//
// Some differences are meant: the emulator keeps a rule that the real kernel broke. They are a kernel's [Deviation]
// values, with a name, the reason, and the answer that is expected instead. A scenario whose only differences are
// listed passes.
//
// Scenarios are independent of each other. They are played in parallel, in virtual time, and reported in order.
package conform

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
// What a family of kernels has of its own (its operations, its host, its deviations, its random conversations) is in
// files named after it (not ops_NAME.go: Go takes a suffix such as _illumos for a build constraint).
//
// Some differences are meant: the emulator keeps a rule that the real kernel broke. They are listed by name and reason
// in illumos_deviations.go, with the answer that is expected instead. A scenario whose only differences are listed
// passes.
//
// Scenarios are independent of each other. They are played in parallel, in virtual time, and reported in order.
package conform

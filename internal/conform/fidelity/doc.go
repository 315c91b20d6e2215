// Package fidelity accounts for what is known of an emulated kernel, and from where: for each message and extension of
// its dialect, in how many recorded conversations it is, how many random messages had it, and where ours deviates or
// fails. What is in none is written from reading only.
//
// An [Account] is made by playing recordings, so it changes with them and with the emulated kernel. What was seen of
// kernels that cannot run in a test stands in accounts that were kept ([Kept]). [Page] puts all of it on one page.
package fidelity

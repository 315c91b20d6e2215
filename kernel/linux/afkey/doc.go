// Package afkey is Linux' af_key: the messages of PF_KEY, who may send and who hears them. It keeps no SA and no
// policy; what it answers is what the [Transforms] below it have said. It may neither assume that time is ours nor that
// packets pass through us: they can be those of a real kernel.
//
// Each file has the name of the message or the thing it is about, the same as in the other kernels' packages.
//
// A socket's receive buffer is accounted by the memory that messages take, and a DUMP that does not fit goes on as the
// socket is read.
package afkey

// Package control is the control port of a running engine, both sides: HTTP on a Unix stream socket beside the engine's
// PF_KEY socket.
//
//	GET  /status     the engine and its servers as one JSON object ([Status]); ?sas=N lists at most N SAs and as many
//	                 ACQUIREs and policies (default 1000; 0, or more than 10000, is 10000); "sa_count",
//	                 "acquire_count" and "policy_count" say how many there are
//	GET  /clock      what the clock shows ([Clock])
//	POST /clock      {"advance":"8h"} moves a virtual clock and answers with what it shows then; 409 if
//	                 the clock is the machine's
//	GET  /events     what happens in the engine, as docs/events.md describes it: one JSON object a line, or
//	                 server-sent events with "Accept: text/event-stream"; from=beginning (of the history: 10,000
//	                 events, 16 MiB), now (the default) or the number of an event; until=now ends with the past;
//	                 type=, message=, socket= and spi= choose, several values of one are alternatives; keys=show
//	                 shows keys in messages that come from now on
//	GET  /metrics    counters in the text format of Prometheus
//
// Errors are {"error":"..."} with the usual status: 400 for a request that cannot be understood, 403 for a user who may
// not, 404, 405, 409, 413 for a body that is too large. Nothing here shows a key but /events, where it is asked to.
package control

// Path is where the control port of the engine whose PF_KEY socket is at path lies.
func Path(path string) string { return path + ".control" }

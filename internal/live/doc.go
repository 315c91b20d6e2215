// Package live serves a page that shows what happens in a running engine, to a browser on the same machine.
//
// A [Recorder] follows the control port of the engine. It keeps a history of its own, so the page can still be looked
// at when the engine has gone. A [Server] gives that to browsers, and nothing to anybody else: whoever asks must know a
// secret that stands in the address, and no page of another site may ask. An [Export] is the same page as one file that
// needs neither engine nor server.
//
// The paths below the page's own:
//
//	GET  info      what the page is about ([Info])
//	GET  events    server-sent events: {"events":[...]} with the events of package event, at most 500 each, and
//	               events of type engine, {"up":true}; from=N or Last-Event-ID say where to begin
//	GET  status    {"up":true,"status":{...}}, the status of package control, or the last one
//	POST clock     {"advance":"8h"} moves a virtual clock
//	POST explain   {"messages":["HEX"]} answers with their fields ([Explained])
//	GET  export    the page as one file
//
// Errors are {"error":"..."}.
package live

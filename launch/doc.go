// Package launch runs an unmodified program so that its AF_KEY sockets reach an emulated kernel.
//
// A seccomp filter stops socket(2) where it asks for AF_KEY, in the program and in everything it starts. A supervisor outside
// of the filter ([Program.Supervise]) makes a pair of Unix sockets, gives one end to an engine and puts the other into the
// program, as the result of the call it waits in. What the program sends and receives afterwards is stopped by nobody. No
// privilege is needed, nothing is preloaded, and static programs, threads, chroot and exec make no difference. It needs Linux
// 5.14 ([Supported] says what is missing).
//
// # Parts
//
//   - [Program] is the filter, the program under it, and the supervisor that answers the calls it stopped.
//   - [Switchboard] is who the supervisor asks: it makes the ends, keeps a duplicate of each, and hands them to an engine
//     through a [Session]. If that engine dies no program notices; the next session gets all ends, with what waits in them.
//   - [Desk] is the engine's side of a session: it takes ends over a Unix socket and attaches them to a PF_KEY server.
//
// # The gate
//
// On a real kernel the answer to a message is there when send(2) returns, and some programs rely on it: they look at once,
// without waiting or for a millisecond. The filter stops the calls with which programs look (a recvfrom that peeks at a base
// header or does not wait, a poll of one descriptor that hardly waits) and lets them go on once the engine has handled all
// that the programs have sent. The decision uses only register values, and nothing is let through that would be refused
// otherwise, so there is no race to win for the program.
//
// # What is not covered
//
// 32-bit and x32 programs on amd64 run, but unfiltered: they meet the host's own AF_KEY, which is EAFNOSUPPORT where it has
// none. Sockets made by io_uring are not seen. A process tree has one supervisor: below another one (container managers have
// them, and so has another launch) starting fails, and says so. Without CAP_SYS_ADMIN set-uid programs below run without their
// privilege (no_new_privs).
package launch

// Package launch runs an unmodified program so that its AF_KEY sockets reach an emulated kernel.
//
// A seccomp filter stops socket(2) where it asks for AF_KEY, in the program and in everything it starts. A supervisor
// outside of the filter ([Program.Supervise]) makes a pair of Unix sockets, gives one end to an engine and puts the
// other into the program, as the result of the call it waits in. No privilege is needed, nothing is preloaded, and
// static programs, threads, chroot and exec make no difference. It needs Linux 5.19 on amd64 or arm64 ([Supported] says
// what is missing).
//
// # Parts
//
//   - [Program] is the filter, the program under it, and the supervisor that answers the calls it stopped.
//   - [Switchboard] is who the supervisor asks: it makes the ends, keeps a duplicate of each, and hands them to an
//     engine through a [Session]. If that engine dies no program notices; the next session gets all ends, with what
//     waits in them and with what belongs to the sockets: registrations, promiscuous mode, buffer sizes. The databases
//     start empty.
//   - [Desk] is the engine's side of a session: it takes ends over a Unix socket, attaches them to a PF_KEY server, and
//     carries out what programs send.
//
// # The gate
//
// On a real kernel the answer to a message lies in the socket when send(2) returns. Programs rely on it, and look for
// the answer in all kinds of ways. So it is the send that is stopped: the filter stops every sendto, sendmsg, sendmmsg,
// write, writev and pwritev2, of whatever descriptor, because it sees the number of a descriptor but not what it refers
// to. The supervisor looks at the file behind it. If that is a PF_KEY socket of ours, the supervisor reads the message
// from the program's memory, has the engine carry it out, and returns the length, or the errno with which the kernel
// refuses the message. Otherwise the call goes on. Every look is right by construction: by read, recv, poll, select,
// epoll, FIONREAD or io_uring, whether it waits or not.
//
// The socket calls in which a PF_KEY socket differs from a Unix socket are answered as the kernel does: getsockopt of
// type, domain, peer and buffer sizes, bind, connect, listen, accept, shutdown, getsockname, getpeername, and the
// ioctls of sockets. FIONREAD is an exception on purpose: the kernels refuse it, and here it says how much there is to
// read. On Linux /proc/net/pfkey lists the sockets.
//
// The price is time: every call that sends, writes, or opens a file to read it goes through the supervisor, about 10 µs
// each instead of less than one; a request with its answer takes about three times as long as over a Unix socket. Reads
// cost nothing. [Options.NoGate] switches it off.
//
// A call is carried out once: the filter is installed with SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (Linux 5.19), so that
// a call which the supervisor has received is not interrupted by a signal, unless it kills. A call that it has not
// received yet can be, by a signal whose handler does not restart calls: then even a write to a file may fail with
// EINTR, having done nothing.
//
// A message that takes long holds up nobody else. While there is no engine the first send waits a few seconds for the
// next one; then sends go into the socket, where the next engine finds them. If an engine dies while it has a message,
// the next one gets the message again.
//
// # Hosted sockets
//
// A program that speaks the dialect of another system, but was compiled on this one, has this machine's socket
// addresses and errno numbers in its messages. [SwitchboardOptions] can say so: the switchboard then tells every
// engine, and the engine's server translates in front of each socket. The gate does not look into messages.
//
// # Policies of sockets
//
// Key daemons exempt their own packets with setsockopt(IP_IPSEC_POLICY). Where the engine emulates a kernel it has no
// packets of this machine, and the call succeeds without effect. Where it administers this machine's own kernel
// ([OwnKernel]) the call is done as IP_XFRM_POLICY, which needs no AF_KEY in the kernel: on a duplicate of the
// program's descriptor (pidfd_getfd(2)), if the program itself has CAP_NET_ADMIN where the socket is.
//
// # The guardian
//
// When a supervisor is gone, every stopped call fails with ENOSYS, for ever. So this process starts itself once more,
// as a guardian that holds the other end of the filter, too ([Start]). If the supervisor's process is killed, the
// guardian kills the program, what descends from it, and every process that has a PF_KEY socket open or a mark of the
// program in its environment; any other process under the filter it kills in its next call that is stopped.
//
// # What is not covered
//
//   - Sends that the filter does not see: io_uring, sendfile, splice. Such messages reach the engine through the Unix
//     socket: the answer may come later, and an errno of send(2) comes as a message with nothing but a header, if the
//     message had one.
//   - Sockets that are made by io_uring. Only socket(2) makes PF_KEY sockets.
//   - Programs whose memory this process may not read, if it lacks CAP_SYS_PTRACE: those that run a file which they may
//     not read, and, where Yama restricts tracing to descendants, those that have lost their parents to a process
//     outside of this one. Their sends go into the Unix socket as above. prctl(PR_SET_DUMPABLE, 0), with which a
//     program hides its memory, succeeds without effect then.
//   - 32-bit and x32 programs on amd64. They run, but unfiltered: they meet the host's own AF_KEY, which is
//     EAFNOSUPPORT where it has none.
//   - NETLINK_XFRM, the other interface to IPsec on Linux. It meets the host's own kernel, so a program that uses both
//     sees two kernels.
//   - isatty(3) and other ioctls of terminals on a PF_KEY socket fail with ENOTTY, and flags of recv(2) that PF_KEY
//     refuses are taken.
//
// A process tree has one supervisor: below another one (container managers have them, and so has another launch)
// starting fails, and says so. Without CAP_SYS_ADMIN set-uid programs below run without their privilege (no_new_privs).
// The supervisor needs /proc.
package launch

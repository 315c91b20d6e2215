// Package pfkeytest gives a test a host with an emulated kernel, as net/http/httptest gives it a web server.
//
// Everything runs inside the test's own process: no root, no kernel modules, no network. The clock stands still until
// [Host.Advance] moves it, and the choices of the kernel (SPIs, IVs) are the same in every run. So lifetimes of hours
// pass at once, and outputs can be compared.
//
//	host := pfkeytest.New(t, pfkeytest.Kernel("illumos"), pfkeytest.Addr("192.0.2.1"))
//	client := host.Client()
//	spi, err := client.GetSPI(ctx, ...)
//	p := host.Inject(host.Seal(sa, pfkeytest.Ping("192.0.2.2", "192.0.2.1", 1)))
//	p.Expect(packet.Queued) // it has arrived on the LARVAL security association
//	err = client.Update(ctx, sa, pfkey.NoAcquire) // completes that
//	p.Expect(packet.Queued, packet.Delivered)
//
// When the test ends everything is closed, and the host checks that no packet got lost.
//
// # Programs
//
// [Host.Start] runs an unmodified program on the host's kernel (Linux). A program that finds its engine by an address
// gets it from [Host.Serve]. A test waits for what a program does with [Host.ExpectRequest] or [Host.WaitRequest],
// never by sleeping. What has become of it shows in [Host.SAs] and [Host.Policies].
//
//	host := pfkeytest.New(t, pfkeytest.Policy("{raddr 192.0.2.2} ipsec {encr_algs aes encr_auth_algs sha1}"))
//	host.Start(t, exec.Command("mydaemon", "--lifetime", "50m"))
//	host.ExpectRequest(wire.MsgRegister)
//	host.InjectOutbound(pfkeytest.UDP("192.0.2.1:9", "192.0.2.2:9", "hello")) // needs keys
//	host.ExpectRequest(wire.MsgAdd)                                          // and the program makes some
//	host.Advance(50*time.Minute + 10*time.Second)
//	host.ExpectRequest(wire.MsgGetSPI) // it renews them: later than the ADD
//
// The clock should stand still while a program is at work. If Advance goes on far beyond an EXPIRE, the program answers
// while the clock still moves, at a moment that is different in each run. So advance to just behind what shall happen,
// wait for what the program does, and go on from there.
//
// # What happens
//
// [Host.Events] tells what happens on a host, in order: messages both ways, sockets, SAs and their states, packets and
// their verdicts, moves of the clock. A test compares them, or waits for one.
//
//	events := host.Events(event.Filter{Types: []event.Type{event.SA}})
//	...
//	mature, err := events.Next(ctx)
//
// # This machine's own kernel
//
// With Kernel("xfrm") the SAs, the policies and the packets are those of the Linux that the test runs on: the host is a
// network namespace of its own, which PF_KEY messages reach by NETLINK_XFRM, and which ends with the test. Programs of
// [Host.Start] are in that namespace. Nothing of the machine's own network is seen or touched.
//
//	host := pfkeytest.New(t, pfkeytest.Kernel("xfrm"))
//	host.Start(t, exec.Command("iked", "-d"))
//
// It needs XFRM in the kernel, and CAP_SYS_ADMIN to make the namespace. Where there is none, the test is skipped with
// the reason. Without root, run the tests in a user namespace: "unshare --user --map-root-user go test". Algorithms,
// ESP and AH are there as far as the machine has them.
//
// Time and packets are the machine's. So [Host.Advance], [Host.Inject], [Host.InjectOutbound] and [Cable] fail the
// test, and the options [Start], [Step] and [Fault] are refused. SPIs differ in each run.
//
// # Two hosts
//
// [Cable] connects two hosts: what one transmits arrives at the other, and their clocks move together.
//
// # Bubbles
//
// Sockets of [Host.Client] and [Host.Open] are no system calls, so they work in the bubbles of [testing/synctest].
// There, synctest.Wait returns when everything that the test has started waits for something: when a key manager in a
// goroutine has done all that it has to do. Its timers run on the bubble's clock, and a wait in vain takes no time. The
// kernel's clock is another one, moved by Advance. Programs and sockets of [Host.Serve] do not belong into a bubble.
// The example "Synctest" is a whole test to copy.
package pfkeytest

// Package pfkeytest gives a test a host with an emulated kernel, as net/http/httptest gives it a web server.
//
// Everything runs inside the test's own process: no root, no kernel modules, no network. The clock stands still until
// [Host.Advance] moves it, and the choices of the kernel (SPIs, IVs) are the same in every run, so that lifetimes of hours
// pass at once and outputs can be compared.
//
//	host := pfkeytest.New(t, pfkeytest.Kernel("illumos"), pfkeytest.Addr("192.0.2.1"))
//	client := host.Client()
//	spi, err := client.GetSPI(ctx, ...)
//	packet := host.Inject(esp)       // arrives on the LARVAL security association
//	packet.Expect(ipsec.Queued)
//	err = client.Update(ctx, ...)    // completes it
//	packet.Expect(ipsec.Queued, ipsec.Delivered)
//
// A program in another process, or one that wants a socket, gets the address from [Host.Serve]. What it does is waited for with [Host.WaitRequest], never
// by sleeping; what has become of it shows in [Host.SAs] and [Host.Policies]:
//
//	host.WaitRequest(ctx, wire.MsgAdd) // returns when the kernel has handled the program's next ADD
//	host.Advance(time.Hour)
//	host.WaitRequest(ctx, wire.MsgGetSPI) // the program renews its keys
//
// While a program is at work the clock should stand still, for all that it does would else happen at a moment of chance.
//
// When the test ends everything is closed, and the host checks that no packet got lost.
package pfkeytest

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
// A program in another process, or one that wants a socket, gets the address from [Host.Serve].
//
// When the test ends everything is closed, and the host checks that no packet got lost.
package pfkeytest

package pfkey_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// An engine behind a socket, and a client of it.
func ExampleServer() {
	dir, err := os.MkdirTemp("", "pfkey")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	e, err := kernel.New("illumos", kernel.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()

	l, err := pfkey.Listen(filepath.Join(dir, "illumos.sock"))
	if err != nil {
		log.Fatal(err)
	}
	server := pfkey.NewServer(e, pfkey.ServerOptions{})
	served := make(chan error)
	go func() { served <- server.Serve(context.Background(), l) }()

	client, err := pfkey.Dial(context.Background(), "illumos:"+l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("flushed:", client.Flush(context.Background(), wire.SATypeUnspec))
	client.Close()

	server.Close()
	fmt.Println("served:", <-served)
	// Output:
	// flushed: <nil>
	// served: <nil>
}

// A launcher makes the pair itself, gives one end to its program, and has everything handled at a moment of its choice.
func ExampleServer_Attach() {
	e, err := kernel.New("illumos", kernel.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	server := pfkey.NewServer(e, pfkey.ServerOptions{})
	defer server.Close()

	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer unix.Close(ends[0])
	conn, err := server.Attach(os.NewFile(uintptr(ends[1]), "end"), pfkey.Cred{PID: 1234, Privileged: true})
	if err != nil {
		log.Fatal(err)
	}

	// The program sends, and expects the answer to be there when send has returned.
	flush := wire.Illumos().Finish(wire.Illumos().AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgFlush, Seq: 1,
		PID: 1234}))
	if err := unix.Send(ends[0], flush, 0); err != nil {
		log.Fatal(err)
	}
	conn.Drain()
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(ends[0], answer, unix.MSG_DONTWAIT)
	fmt.Println(n, err)
	// Output:
	// 16 <nil>
}

// In process no socket is needed.
func ExampleNewClientOn() {
	ctx := context.Background()
	e, err := kernel.New("illumos", kernel.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	me := pfkey.Cred{PID: 1234, Privileged: true}
	sock, errno := e.Open(me, 3, 2) // SOCK_RAW, PF_KEY_V2
	if errno != wire.OK {
		log.Fatal(errno)
	}
	client := pfkey.NewClientOn(sock, e.Dialect(), me)
	defer client.Close()

	sa := pfkey.SA{
		SAID: pfkey.SAID{
			Type: wire.SATypeESP, SPI: 0x1234,
			Src: pfkey.Host(netip.MustParseAddr("192.0.2.1")), Dst: pfkey.Host(netip.MustParseAddr("192.0.2.2")),
		},
		State: wire.StateMature,
		Auth:  wire.AuthSHA1HMAC, AuthKey: pfkey.NewKey([]byte("twenty bytes of key.")),
		Encrypt: wire.EncAESCBC, EncryptKey: pfkey.NewKey([]byte("Sixteen byte key")),
	}
	fmt.Println(sa)
	fmt.Println("added:", client.Add(ctx, sa, 0))
	err = client.Update(ctx, pfkey.SA{SAID: pfkey.SAID{Type: wire.SATypeESP, SPI: 0x9999, Src: sa.Src, Dst: sa.Dst}}, 0)
	fmt.Println("updated:", err)
	fmt.Println("not there:", errors.Is(err, unix.ESRCH))
	for sa, err := range client.Dump(ctx, wire.SATypeUnspec) {
		fmt.Println("dump:", sa.SAID, sa.State, err)
	}
	// Output:
	// esp 0x1234 from 192.0.2.1 to 192.0.2.2 mature auth 3 key(160 bits, hidden) encrypt 12 key(128 bits, hidden)
	// added: <nil>
	// updated: pfkey: UPDATE esp 0x9999 from 192.0.2.1 to 192.0.2.2: ESRCH, no such process (diagnostic SA_NOTFOUND)
	// not there: true
	// dump: esp 0x1234 from 192.0.2.1 to 192.0.2.2 mature <nil>
}

func ExampleParseAddress() {
	for _, s := range []string{"illumos:/run/user/1000/pfkeyd/illumos.sock", "af_key:", "/dev/keysock"} {
		a, err := pfkey.ParseAddress(s)
		fmt.Printf("%q %q %v\n", a.Kernel, a.Path, err)
	}
	// Output:
	// "illumos" "/run/user/1000/pfkeyd/illumos.sock" <nil>
	// "af_key" "" <nil>
	// "" "" pfkey: address "/dev/keysock" is neither KERNEL:PATH nor "af_key:"
}

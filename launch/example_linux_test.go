package launch_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// An unmodified program on an engine in this process. Here it is the test binary itself, which opens and closes 400
// sockets; it could as well be exec.Command("setkey", "-D").
func Example() {
	// The engine, and its desk, which takes sockets over.
	eng, err := kernel.New("linux", kernel.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	server := pfkey.NewServer(eng, pfkey.ServerOptions{})
	defer server.Close()
	desk := launch.NewDesk(server, launch.DeskOptions{})
	defer desk.Close()

	// The switchboard, which makes the program's sockets and hands them to the desk.
	board, err := launch.NewSwitchboard(launch.SwitchboardOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer board.Close()
	ours, theirs := seqpacketPair()
	go desk.ServeConn(theirs) // another process: desk.Serve(ctx, listener) there, launch.Dial(path) here
	session, err := launch.NewSession(ours)
	if err != nil {
		log.Fatal(err)
	}
	if err := board.Use(session); err != nil {
		log.Fatal(err)
	}

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), programVariable+"=go")
	cmd.Stdout = os.Stdout
	program, err := launch.Start(cmd, launch.Options{})
	if err != nil {
		log.Fatal(err)
	}
	supervised := make(chan error, 1)
	go func() { supervised <- program.Supervise(context.Background(), board) }() // until the last process is gone
	fmt.Println(cmd.Wait(), <-supervised)
	fmt.Println(program.Counters().Sockets, "sockets")
	// Output:
	// ok go
	// <nil> <nil>
	// 400 sockets
}

// seqpacketPair makes the two ends of a session.
func seqpacketPair() (*os.File, net.Conn) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	file := os.NewFile(uintptr(pair[1]), "session")
	defer file.Close()
	theirs, err := net.FileConn(file)
	if err != nil {
		log.Fatal(err)
	}
	return os.NewFile(uintptr(pair[0]), "session"), theirs
}

package ipseckey_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/pfkeyd/pfkeyd/ipseckey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A run with everything that it touches given to it: here an engine that agrees to everything.
func ExampleProgram() {
	p := &ipseckey.Program{
		Stdin:  strings.NewReader("get esp spi 0x1000 dst 198.51.100.20\n"),
		Stdout: os.Stdout,
		Stderr: os.Stdout,
		PID:    4242,
		Dial: func(context.Context, string) (ipseckey.Conn, *wire.Dialect, error) {
			return &answerer{d: little, answer: agree}, little, nil
		},
	}
	status := p.Run(context.Background(), []string{"-n"})
	fmt.Println("exit", status)
	// Output:
	// Base message (version 2) type GET, SA type ESP.
	// Message length 16 bytes, seq=1, pid=4242.
	// exit 0
}

// One message as --json prints it.
func ExampleNewRecord() {
	m := little.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgExpire, SAType: wire.SATypeESP})
	m = little.Finish(little.AppendSA(m, wire.SA{SPI: 0x1000, State: wire.StateDying, Encrypt: 12}))
	r := ipseckey.NewRecord(little, m, false)
	fmt.Println(r.Type, r.SAType, r.SPI, r.State, r.Encrypt)
	// Output:
	// EXPIRE esp 0x1000 dying aes-cbc
}

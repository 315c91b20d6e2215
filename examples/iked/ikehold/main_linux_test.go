package main

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// message is an IKE header and a number by which it is known again.
func message(exchange, flags, number byte) []byte {
	m := make([]byte, 28, 29)
	m[18], m[19] = exchange, flags
	return append(m, number)
}

func TestHolder(t *testing.T) {
	initiator, here := loopback(t), loopback(t)
	var out bytes.Buffer
	h := &holder{to: &side{conn: here, peer: initiator.LocalAddr().(*net.UDPAddr).AddrPort()}, out: &out}

	const saInit, auth, response = 34, 35, 0x20
	for _, m := range [][]byte{
		message(saInit, response, 1),
		message(auth, response, 2),
		message(auth, 0, 3), // a request
		message(auth, response, 4),
		message(saInit, response, 5),
		{6}, // too short to be IKE
	} {
		if err := h.send(m); err != nil {
			t.Fatal(err)
		}
		m[len(m)-1] = 0xff // the buffer of the next one
	}
	if got, want := receive(t, initiator, 4), []byte{1, 3, 5, 6}; !slices.Equal(got, want) {
		t.Errorf("while it holds, the initiator gets %v, want %v", got, want)
	}
	if got, want := out.String(), "held\nheld\n"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if err := h.letGo(); err != nil {
		t.Fatal(err)
	}
	if err := h.send(message(auth, response, 7)); err != nil {
		t.Fatal(err)
	}
	if got, want := receive(t, initiator, 3), []byte{2, 4, 7}; !slices.Equal(got, want) {
		t.Errorf("once it lets go, the initiator gets %v, want %v", got, want)
	}
}

func loopback(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil { // so that nobody waits in vain
		t.Fatal(err)
	}
	return conn
}

// receive returns the last byte of each of n messages.
func receive(t *testing.T, conn *net.UDPConn, n int) (numbers []byte) {
	t.Helper()
	buf := make([]byte, 100)
	for range n {
		size, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, buf[size-1])
	}
	return numbers
}

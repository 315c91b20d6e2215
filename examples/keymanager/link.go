package main

import (
	"bufio"
	"encoding/json"
	"io"

	"github.com/pfkeyd/pfkeyd/wire"
)

// A message is one of the three of a negotiation, or its refusal: the initiator offers, the responder accepts, the
// initiator is done. It is one line of JSON.
//
// This is no key exchange: the keys are in the offer as they are, and nobody proves who he is. It takes the place of
// IKE in tests, and must never leave the machine.
type message struct {
	Step string   `json:"step"` // offer, accept, done, refuse
	ID   string   `json:"id"`   // of the negotiation, chosen by the initiator
	SPI  wire.SPI `json:"spi,omitempty"`
	Keys keys     `json:"keys,omitzero"` // of an offer
}

// keys are those of both directions.
type keys struct {
	ToInitiator, ToResponder keyPair
}

// keyPair are the keys of one security association.
type keyPair struct {
	Auth, Encrypt []byte
}

// A link carries messages to the other manager and back. One goroutine may send while another receives.
type link struct {
	conn  io.ReadWriteCloser
	lines *bufio.Scanner
}

func newLink(conn io.ReadWriteCloser) *link { return &link{conn, bufio.NewScanner(conn)} }

func (l *link) send(m message) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = l.conn.Write(append(line, '\n'))
	return err
}

// receive waits for a message; io.EOF at the end.
func (l *link) receive() (m message, err error) {
	if !l.lines.Scan() {
		if err = l.lines.Err(); err == nil {
			err = io.EOF
		}
		return m, err
	}
	err = json.Unmarshal(l.lines.Bytes(), &m)
	return m, err
}

func (l *link) close() { l.conn.Close() }

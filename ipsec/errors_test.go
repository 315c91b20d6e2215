package ipsec_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
)

func TestReasonFor(t *testing.T) {
	for err, want := range map[error]packet.Reason{
		nil: packet.NoReason, ipsec.ErrICV: packet.BadICV, ipsec.ErrLength: packet.CryptoFailed,
		ipsec.ErrAHLen:    packet.BadLength,
		ipsec.ErrFragment: packet.Fragment, ipsec.ErrKeepalive: packet.Keepalive, ipsec.ErrShort: packet.BadHeader,
	} {
		if got := ipsec.ReasonFor(err); got != want {
			t.Errorf("ReasonFor(%v) = %v, want %v", err, got, want)
		}
	}
}

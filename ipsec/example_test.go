package ipsec_test

import (
	"fmt"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

func Example() {
	suite := ipsec.Suite{
		Proto:  ipsec.ESP,
		Cipher: ipsec.AESGCM,
		Key:    ipsec.NewKey([]byte("0123456789abcdef")),
		Salt:   ipsec.NewKey([]byte("salt")),
	}
	t, err := suite.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t)

	iv, _ := t.AppendIV(nil, 1, nil) // a counter, for this cipher
	outer := ipsec.Outer{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2")}
	inner := ip4(17, nil, udp(53, 53, []byte("hello")))
	pkt, err := t.SealTunnel(nil, inner, &outer, ipsec.Ports{}, ipsec.Sealing{SPI: 0x1000, Seq: 1, IV: iv})
	if err != nil {
		fmt.Println(err)
		return
	}

	in, err := ipsec.ParseInbound(pkt)
	fmt.Printf("%v from %v, SPI %#x, sequence number %d, %v\n", in.Proto, in.Src, in.SPI, in.Seq, err)
	got, err := t.OpenTunnel(pkt, &in, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s %v\n", got[28:], err)
	// Output:
	// esp aes-gcm-128 icv-128
	// esp from 192.0.2.1, SPI 0x1000, sequence number 1, <nil>
	// hello <nil>
}

func ExampleWindow() {
	w := ipsec.NewWindow(32)
	for _, seq := range []uint64{1, 5, 3, 5, 100, 60} {
		place := w.Look(seq)
		fmt.Println(seq, place.Ahead, place.Offset, place.Seen, w.Accept(seq))
	}
	// Output:
	// 1 true 1 false true
	// 5 true 4 false true
	// 3 false 2 false true
	// 5 false 0 true false
	// 100 true 95 false true
	// 60 false 40 false false
}

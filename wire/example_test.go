package wire_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"github.com/pfkeyd/pfkeyd/wire"
)

// A GETSPI is built by appending; Finish sets the length.
func Example() {
	d := wire.Illumos()
	b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgGetSPI, SAType: wire.SATypeESP, Seq: 1,
		PID: 1234})
	b = d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: netip.MustParseAddr("192.0.2.2")})
	b = d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: netip.MustParseAddr("192.0.2.1")})
	b = d.AppendSPIRange(b, wire.SPIRange{Min: 0x1000, Max: 0x1fff})
	msg := d.Finish(b)
	fmt.Println(d.Line(msg))
	// Output: GETSPI esp seq=1 pid=1234 src=192.0.2.2 dst=192.0.2.1 spirange=0x1000-0x1fff
}

// Check an answer before looking into it, then visit its extensions.
func ExampleDialect_Walk() {
	d := wire.Linux()
	b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgGet, SAType: wire.SATypeESP})
	b = d.AppendSA(b, wire.SA{SPI: 0x1000, State: wire.StateMature, Encrypt: wire.EncAESCBC})
	b = d.AppendKey(b, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: []byte("0123456789abcdef")})
	msg := d.Finish(b)

	if err := d.Validate(msg); err != nil {
		fmt.Println(err)
		return
	}
	for x, err := range d.Walk(msg) {
		if err != nil {
			fmt.Println(err)
			return
		}
		switch x.Type {
		case wire.ExtSA:
			sa, _ := d.ParseSA(x.Raw) // Validate has checked its size
			fmt.Println(sa.SPI, d.StateName(sa.State), d.EncryptName(sa.Encrypt))
		case wire.ExtKeyEncrypt:
			k, _ := d.ParseKey(x.Raw)
			fmt.Println(k, len(k.Data))
		}
	}
	// Output:
	// 0x1000 mature aes-cbc
	// key(128 bits, hidden) 16
}

// Recordings from another machine are read in their own byte order.
func ExampleDialect_WithOrder() {
	d := wire.Linux().WithOrder(binary.BigEndian)
	msg := []byte{2, 9, 0, 3, 0, 2, 0, 0, 0, 0, 0, 7, 0, 0, 4, 0xd2}
	fmt.Println(d.Line(msg))
	// Output: FLUSH esp seq=7 pid=1234
}

// The annotated form is for debugging a message byte by byte.
func ExampleDialect_Format() {
	d := wire.Linux().WithOrder(binary.LittleEndian)
	b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgDump, Seq: 7, PID: 1234})
	b = d.AppendNATTType(b, wire.NATTType{Type: wire.KAMENATTESP})
	d.Format(os.Stdout, d.Finish(b), wire.FormatOptions{})
	// Output:
	// base header, 16 bytes
	//       0  02                       version = 2
	//       1  0a                       type = 10 (DUMP)
	//       2  00                       errno = 0 (OK)
	//       3  00                       satype = 0 (unspec)
	//       4  03 00                    len = 3 (24 bytes)
	//       6  00 00                    reserved = 0
	//       8  07 00 00 00              seq = 7
	//      12  d2 04 00 00              pid = 1234
	// X_NAT_T_TYPE, 8 bytes
	//      16  01 00                    len = 1 (8 bytes)
	//      18  14 00                    exttype = 20 (X_NAT_T_TYPE)
	//      20  02                       natttype = 2 (esp-in-udp)
	//      21  00 00 00                 reserved = 000000
}

package ipsec_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// TestIllumosPackets opens packets that the illumos IPsec code of January 2015 made or accepted, and seals what was in
// them to the same bytes. That code pads GCM and CCM to 16 bytes and aligns AH to 4, in IPv6 too.
func TestIllumosPackets(t *testing.T) {
	auth := func(n int) ipsec.Key { // the keys of all these recordings
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(0x81 + 7*i)
		}
		return ipsec.NewKey(b)
	}
	enc := func(from, n int) ipsec.Key {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(0x91 + 7*(from+i))
		}
		return ipsec.NewKey(b)
	}
	const (
		plain4 = "45000030123400004011e485c0000201c0000202 00010009001c0000 000102030405060708090a0b0c0d0e0f10111213"
		longer = "45000037123400004011e47ec0000201c0000202 0001000900230000 000102030405060708090a0b0c0d0e0f101112131415161718191a"
	)
	tests := []struct {
		name  string
		suite ipsec.Suite
		align int
		pkt   string
		inner string
	}{
		{
			name: "aes-cbc sha1",
			suite: ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: enc(0, 16), MAC: ipsec.HMACSHA1,
				AuthKey: auth(20)},
			pkt: "45000058123400004032e43cc0000202c0000201 0000000900000001 020910171e252c333a41484f565d646b" +
				"2ba882b91206fcd08c06f5399bc63a7956c52e201cc1b6ea7cd99077ee6fe640 3ac3033143107aca154b2f2a",
			inner: "45000030123400004011e485c0000202c0000201 13880009001c0000 000102030405060708090a0b0c0d0e0f10111213",
		},
		{
			name: "aes-cbc sha1 in UDP",
			suite: ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: enc(0, 16), MAC: ipsec.HMACSHA1,
				AuthKey: auth(20)},
			pkt: "45000060123400004011e455c0000202c0000201 15b31194004c0000 0000000900000001 020910171e252c333a41484f565d646b" +
				"2ba882b91206fcd08c06f5399bc63a7956c52e201cc1b6ea7cd99077ee6fe640 3ac3033143107aca154b2f2a",
			inner: "45000030123400004011e485c0000202c0000201 13880009001c0000 000102030405060708090a0b0c0d0e0f10111213",
		},
		{
			name:  "aes-gcm-12, IPv6",
			suite: ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: enc(0, 16), Salt: enc(16, 4), ICV: 12},
			align: 16,
			pkt: "60000000003c3240 20010db8000000000000000000000002 20010db8000000000000000000000001" +
				"0000000900000001 020910171e252c33" +
				"557665a9fb88b7219293faed9a1aad8a86298bfe1e5f7401eb3dd9095e4dd144cc77c1928a47f451f6959a20",
			inner: "60000000001c1140 20010db8000000000000000000000002 20010db8000000000000000000000001" +
				"13880009001c0000 000102030405060708090a0b0c0d0e0f10111213",
		},
		{
			name:  "aes-gcm-8, sent",
			suite: ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: enc(0, 16), Salt: enc(16, 4), ICV: 8},
			align: 16,
			pkt: "4500005c123400004032e438c0000201c0000202 0000000900000002 d939d54a71f1d7db" +
				"3a10db7ae7da96de09caa17a4ae1a9d1397d3453e60ed3db15c21c12242437969713c1a120fb06c7e859c55fe354553a5712c23a4d9b9d43",
			inner: longer,
		},
		{
			name:  "aes-ccm-8, sent",
			suite: ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCCM, Key: enc(0, 16), Salt: enc(16, 3), ICV: 8},
			align: 16,
			pkt: "4500004c123400004032e448c0000201c0000202 0000000900000001 7de0101128ccfeea" +
				"10adec0f7f510b3b1350c03e9b1fdf687ed8e00cd0f2b7ae0463bc3e24159fa4fff8b0f648b0ef89",
			inner: plain4,
		},
		{
			name:  "aes-ccm-16, sent",
			suite: ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCCM, Key: enc(0, 16), Salt: enc(16, 3), ICV: 16},
			align: 16,
			pkt: "45000064123400004032e430c0000201c0000202 0000000900000002 d1b42e7503b912f1" +
				"d14154bf52e1e9e58356b43f45ff083de29f8dee51479f13a9770e1ba5efc23143395dbe3efa1614d6f59f2b6e5bbf43" +
				"b36913d93799813f5f1de75c17554a43",
			inner: longer,
		},
		{
			name: "des-cbc sha1, sent",
			suite: ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.DESCBC, Key: enc(0, 8), MAC: ipsec.HMACSHA1,
				AuthKey: auth(20)},
			pkt: "45000050123400004032e444c0000201c0000202 0000000900000001 6dd6c3684a5b7416" +
				"fa3bfed8f12c2fbfc74a56c4219d4f5139f73ad9c6dc15f68f10b76a17ed1b9c 689542b2e1a46b6d158c30e3",
			inner: plain4,
		},
		{
			name:  "null md5, sent",
			suite: ipsec.Suite{Proto: ipsec.ESP, MAC: ipsec.HMACMD5, AuthKey: auth(16)},
			pkt: "45000050123400004032e444c0000201c0000202 0000000900000002" +
				"0001000900230000 000102030405060708090a0b0c0d0e0f101112131415161718191a 010203 0311 133f4375fa12d65dcf645d08",
			inner: longer,
		},
		{
			name:  "ah md5, IPv6",
			suite: ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACMD5, AuthKey: auth(16)},
			pkt: "6000000000343340 20010db8000000000000000000000002 20010db8000000000000000000000001" +
				"110400000000000900000001 29393a12118e7bc587b68a32 13880009001c0000 000102030405060708090a0b0c0d0e0f10111213",
			inner: "60000000001c1140 20010db8000000000000000000000002 20010db8000000000000000000000001" +
				"13880009001c0000 000102030405060708090a0b0c0d0e0f10111213",
		},
		{
			name:  "ah sha-384, sent",
			suite: ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA384, AuthKey: auth(48)},
			pkt: "45000054123400004033e43fc0000201c0000202 110700000000000900000001" +
				"96bdc8ff8c73d0254b9b7fb19f5463950f0f9cff7f175300 00010009001c0000 000102030405060708090a0b0c0d0e0f10111213",
			inner: plain4,
		},
		{
			name:  "ah sha-384, IPv6, sent: not padded to 8 bytes",
			suite: ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA384, AuthKey: auth(48)},
			align: 4,
			pkt: "6000000000403340 20010db8000000000000000000000001 20010db8000000000000000000000002" +
				"110700000000000900000001 777ab8ff4cc0cf7fff34a541ed3846da6ed5e8f3903e19af 00010009001c0000 000102030405060708090a0b0c0d0e0f10111213",
			inner: "60000000001c1140 20010db8000000000000000000000001 20010db8000000000000000000000002" +
				"00010009001c0000 000102030405060708090a0b0c0d0e0f10111213",
		},
		{
			name:  "ah sha-256, sent",
			suite: ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA256, AuthKey: auth(32)},
			pkt: "4500004c123400004033e447c0000201c0000202 110500000000000900000001" +
				"cfade8f9a8c866dc9e4020298d69fb70 00010009001c0000 000102030405060708090a0b0c0d0e0f10111213",
			inner: plain4,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr, pkt, inner := newTransform(t, tt.suite), unhex(tt.pkt), unhex(tt.inner)
			in, err := ipsec.ParseInbound(pkt)
			if err != nil {
				t.Fatal(err)
			}
			got, err := open(tr, pkt, &in, 0, "transport")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(inner, got); diff != "" {
				t.Errorf("inner packet (-want +got):\n%s", diff)
			}
			s := ipsec.Sealing{SPI: in.SPI, Seq: uint64(in.Seq), Align: tt.align}
			if in.Proto == ipsec.ESP {
				s.IV = in.ESP(pkt)[8 : 8+tr.IVLen()]
			}
			got, err = tr.SealTransport(nil, inner, ipsec.Ports{Src: in.SrcPort, Dst: in.DstPort}, s)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(pkt, got); diff != "" {
				t.Errorf("sealed (-want +got):\n%s", diff)
			}
		})
	}
}

package bsd

import (
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Packets are made of their headers as the recorder made them.
func TestPackets(t *testing.T) {
	for _, tt := range []struct{ name, of, want string }{
		{"UDP", `"proto":17,"src":"192.0.2.1","dst":"192.0.2.2","sport":40000,"dport":9,"len":10`,
			"45000026000100004011f6c2c0000201c00002029c4000090012000000000000000000000000"},
		{"UDP without data", `"proto":17,"src":"192.0.2.1","dst":"10.0.0.1","sport":40000,"dport":9`,
			"4500001c000100004011aecec00002010a0000019c40000900080000"},
		{"UDP, IPv6", `"proto":17,"src":"2001:db8::1","dst":"2001:db8::2","sport":40000,"dport":53,"len":7`,
			"60000000000f114020010db800000000000000000000000120010db80000000000000000000000029c400035000f000000000000000000"},
		{"TCP", `"proto":6,"src":"192.0.2.1","dst":"192.0.2.2","sport":40000,"dport":9,"len":5`,
			"4500002d000100004006f6c6c0000201c00002029c40000900000001000000005002ffff000000000000000000"},
		{"ICMP", `"proto":1,"src":"192.0.2.1","dst":"192.0.2.2","sport":3,"dport":1,"len":8`,
			"45000024000100004001f6d4c0000201c000020203010000000100010000000000000000"},
		{"ICMPv6", `"proto":58,"src":"2001:db8::1","dst":"2001:db8::2","sport":128,"len":8`,
			"6000000000103a4020010db800000000000000000000000120010db800000000000000000000000280000000000100010000000000000000"},
		{"GRE, whose ports mean nothing", `"proto":47,"src":"192.0.2.2","dst":"192.0.2.1","sport":1000,"dport":9,"len":8`,
			"4500001c00010000402ff6aec0000202c00002010000000000000000"},
		{"SCTP", `"proto":132,"src":"192.0.2.1","dst":"192.0.2.2","sport":5,"dport":6,"len":9`,
			"45000029000100004084f64cc0000201c0000202000500060000000000000000000000000000000000"},
		{"ESP", `"proto":50,"src":"192.0.2.1","dst":"192.0.2.2","spi":4096,"pseq":1,"len":10`,
			"4500001e000100004032f6a9c0000201c000020200001000000000010000"},
		{"ESP that is cut", `"proto":50,"src":"192.0.2.1","dst":"192.0.2.2","spi":4096,"pseq":1`,
			"45000014000100004032f6b3c0000201c0000202"},
		{"AH", `"proto":51,"src":"2001:db8::1","dst":"2001:db8::2","spi":4096,"pseq":1,"len":14`,
			"60000000000e334020010db800000000000000000000000120010db80000000000000000000000021104000000001000000000010000"},
		{"IPComp", `"proto":108,"src":"192.0.2.1","dst":"192.0.2.2","spi":4096,"pseq":1,"len":6`,
			"4500001a00010000406cf673c0000201c0000202110010000000"},
	} {
		var i struct {
			headers
			SPI  *uint32
			PSeq *uint32
		}
		if err := json.Unmarshal([]byte("{"+tt.of+"}"), &i); err != nil {
			t.Fatal(err)
		}
		if err := i.Check(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := hex.EncodeToString(i.make(i.SPI, i.PSeq)); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// What came out is described as the recorder did: UDP is told where it is in front of ESP, and nowhere else.
func TestWires(t *testing.T) {
	const plain = "4500001c000100004011f6ccc0000201c00002029c40000900080000"
	for _, tt := range []struct{ name, via, packet, want string }{
		{"clear", "clear", plain, `{"via":"clear","len":28,"proto":17}`},
		{"protected by nothing that shows", "ip", plain, `{"via":"ip","len":28,"proto":17}`},
		{"ESP", "ip", "450000240001000040320000c0000201c000020200001000000000070102030405060708",
			`{"via":"ip","len":36,"proto":50,"spi":4096,"pseq":7}`},
		{"AH, IPv6", "ip6", "60000000000c334020010db800000000000000000000000120010db8000000000000000000000002" +
			"110400000000100000000007", `{"via":"ip6","len":52,"proto":51,"spi":4096,"pseq":7}`},
		{"IPComp", "ip", "4500001c00010000406c0000c0000201c00002021100100000000000",
			`{"via":"ip","len":28,"proto":108,"spi":4096}`},
		{"ESP in UDP", "ip", "450000240001000040110000c0000201c000020211941195001000000000100000000007",
			`{"via":"ip","len":36,"proto":17,"spi":4096,"pseq":7,"udp":[4500,4501]}`},
		{"UDP that came in", "upper", "450000240001000040110000c0000201c000020211941195001000000000100000000007",
			`{"via":"upper","len":36,"proto":17}`},
		{"ESP that is cut", "ip", "450000180001000040320000c0000201c000020200001000",
			`{"via":"ip","len":24,"proto":50,"spi":4096}`},
	} {
		w := wireOf(unhex(t, plain), engine.Passage{Via: tt.via, Packet: unhex(t, tt.packet)})
		got, err := json.Marshal(w)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v\nwant %s", tt.name, got, err, tt.want)
		}
	}
}

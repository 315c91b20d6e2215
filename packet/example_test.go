package packet_test

import (
	"fmt"

	"github.com/pfkeyd/pfkeyd/packet"
)

func ExampleLedger() {
	var l packet.Ledger
	var q packet.Queue // of a LARVAL SA
	p := &packet.Packet{ID: 1, Done: func(p *packet.Packet, v packet.Verdict) {
		fmt.Printf("%d %v [%v]\n", p.ID, v.Kind,
			v.Reason)
	}}
	l.Inject(p)
	q.Push(p, packet.Queued, 1)
	p.Report()
	fmt.Println("held:", l.Balance().Held)
	q.Pop().End(packet.Verdict{Kind: packet.Dropped, Reason: packet.LarvalGone})
	fmt.Println("in flight:", l.Balance().InFlight)
	// Output:
	// 1 queued []
	// held: 1
	// 1 dropped [larval-gone]
	// in flight: 0
}

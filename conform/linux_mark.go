package conform

import (
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

const namedReqID = 0x3fff // the highest that a program may name

// markLinuxHeader marks the reserved field, which in some messages is not.
func markLinuxHeader(k *marker, h wire.Header, size int, mark marking) (acquire bool) {
	switch {
	case h.Type == wire.MsgAcquire && h.PID == 0 && h.Errno == 0 && h.Seq != 0:
		mark(reservedAt, 2, "msg_reserved")
		return true
	case k.sends && countsReferences(h, size):
		mark(reservedAt, 2, "references")
	}
	return false
}

const (
	reservedAt = 6 // in the header

	tcp, udp = 6, 17
)

// countsReferences says whether the reserved field of a message of this size is how many references a policy has.
func countsReferences(h wire.Header, size int) bool {
	return slices.Contains(counted, h.Type) && size > wire.HeaderLen
}

// mostRoutes is how many routes the packet of an action may take: a connection for which keys are missing looks for one
// several times.
func mostRoutes(a *Action) int {
	switch {
	case a.Op == "inject" && strings.Contains(a.Dst, ":"): // IPv4 has no policies there
		return 1
	case a.Op != "traffic":
		return 0
	case a.Proto == tcp:
		return 4
	}
	return 1
}

// markLinuxExt marks reqids, and ports that the kernel chose.
func markLinuxExt(k *marker, h wire.Header, x wire.Ext, copied bool, mark marking) {
	switch x.Type {
	case wire.KAMEExtXPolicy:
		if !copied {
			k.policy(x, h.Type, mark)
		}
	case wire.KAMEExtXSA2:
		if v, err := k.f.dialect.ParseSA2(x.Raw); err == nil && k.reqids[v.ReqID] {
			mark(x.Offset+12, 4, "reqid")
		}
	case wire.ExtAddressSrc, wire.ExtAddressDst, wire.ExtAddressProxy:
		const portAt, lowest = 10, 32768 // net.ipv4.ip_local_port_range begins there
		if v, err := k.f.dialect.ParseAddress(x.Raw); err == nil && k.ports && v.Port >= lowest &&
			!slices.Contains(k.named, v.Port) {
			mark(x.Offset+portAt, 2, "port")
		}
	}
}

// counted are the messages that say how many references a policy has, in their reserved field.
var counted = []wire.MsgType{wire.KAMEMsgXSPDAdd, wire.KAMEMsgXSPDUpdate, wire.KAMEMsgXSPDDelete,
	wire.KAMEMsgXSPDDelete2, wire.KAMEMsgXSPDGet,
	wire.KAMEMsgXSPDDump}

// policy marks the reqids that the kernel chose. MIGRATE only repeats those that it was given.
func (k *marker) policy(x wire.Ext, t wire.MsgType, mark marking) {
	const (
		fixed = 16 // of the extension, before the requests
		reqid = 8  // its offset in a request
	)
	o := k.f.dialect.Order
	for at := fixed; at+fixed <= len(x.Raw); {
		id := o.Uint32(x.Raw[at+reqid:])
		if id > namedReqID && t != wire.LinuxMsgXMigrate {
			k.reqids[id] = true
		}
		if k.reqids[id] {
			mark(x.Offset+at+reqid, 4, "reqid")
		}
		n := int(o.Uint16(x.Raw[at:]))
		if n < fixed {
			break
		}
		at += n
	}
}

// namesPolicy says why a message that names a policy by its number cannot be sent to a running engine.
func namesPolicy(d *wire.Dialect, msg []byte) string {
	if h, err := d.Header(msg); err == nil && (h.Type == wire.KAMEMsgXSPDGet || h.Type == wire.KAMEMsgXSPDDelete2) {
		return "a running engine goes on counting its policies, so their numbers in a request do not fit"
	}
	return ""
}

// policyNumbers finds the numbers of policies in a message.
func policyNumbers(d *wire.Dialect, msg []byte) (spans []Span) {
	for x, err := range d.Walk(msg) {
		if err != nil {
			break
		}
		if x.Type == wire.KAMEExtXPolicy && len(x.Raw) >= 12 && d.Order.Uint32(x.Raw[8:]) != 0 {
			spans = append(spans, Span{x.Offset + 8, 4, "policy"})
		}
	}
	return spans
}

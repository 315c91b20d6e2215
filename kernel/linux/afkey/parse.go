package afkey

import (
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

const (
	msgMax = wire.LinuxMsgXMigrate
	extMax = wire.LinuxExtXFilter
)

// request is one message on its way through the kernel. There is one at a time, and nobody keeps it.
type request struct {
	sender *client
	hdr    wire.Header
	msg    []byte
	ext    [extMax + 1][]byte // by type, whole; nil where there is none
}

func (r *request) has(t wire.ExtType) bool { return r.ext[t] != nil }

// handlers are those of the messages that have one.
var handlers = [msgMax + 1]func(*Manager, *request) wire.Errno{
	wire.MsgReserved:            nil,
	wire.MsgGetSPI:              (*Manager).getSPI,
	wire.MsgUpdate:              (*Manager).add,
	wire.MsgAdd:                 (*Manager).add,
	wire.MsgDelete:              (*Manager).deleteSA,
	wire.MsgGet:                 (*Manager).get,
	wire.MsgAcquire:             (*Manager).acquireAnswer,
	wire.MsgRegister:            (*Manager).register,
	wire.MsgFlush:               (*Manager).flush,
	wire.MsgDump:                (*Manager).dump,
	wire.MsgXPromisc:            (*Manager).promisc,
	wire.KAMEMsgXSPDUpdate:      (*Manager).policyAdd,
	wire.KAMEMsgXSPDAdd:         (*Manager).policyAdd,
	wire.KAMEMsgXSPDSetIdx:      (*Manager).policyAdd,
	wire.KAMEMsgXSPDDelete:      (*Manager).policyDelete,
	wire.KAMEMsgXSPDGet:         (*Manager).policyGet,
	wire.KAMEMsgXSPDDelete2:     (*Manager).policyGet,
	wire.KAMEMsgXSPDDump:        (*Manager).policyDump,
	wire.KAMEMsgXSPDFlush:       (*Manager).policyFlush,
	wire.LinuxMsgXMigrate:       (*Manager).migrate,
	wire.MsgExpire:              nil,
	wire.KAMEMsgXPChange:        nil,
	wire.KAMEMsgXSPDAcquire:     nil,
	wire.KAMEMsgXSPDExpire:      nil,
	wire.KAMEMsgXNATTNewMapping: nil,
}

// sendReserve is what a send buffer keeps back.
const sendReserve = 32

// Request implements [engine.Endpoint]. A bad base header is an error of send(), everything behind it one in a
// reply.
func (c *client) Request(msg []byte, from pfkey.Cred) pfkey.Errno {
	if len(msg) > c.sendBuf-sendReserve {
		return wire.EMSGSIZE
	}
	k := c.k
	r := &k.request
	*r = request{sender: c, msg: msg}
	if errno := k.checkBase(r); errno != wire.OK {
		return errno
	}
	k.broadcast(message{bytes: msg, size: len(msg), raw: true}, toPromiscuous, nil)
	errno := k.parse(r)
	if errno == wire.OK {
		errno = wire.EOPNOTSUPP
		if h := handlers[r.hdr.Type]; h != nil {
			errno = h(k, r)
		}
	}
	if errno != wire.OK {
		k.fail(r, errno)
	}
	k.transforms.Settle()
	return wire.OK
}

// fail answers with the request's header and an error.
func (k *Manager) fail(r *request, errno wire.Errno) {
	h := r.hdr
	h.Errno = k.d.ErrnoNumber(errno)
	k.broadcast(k.bare(h), toOne, r.sender)
}

// bare is a message without extensions.
func (k *Manager) bare(h wire.Header) message {
	h.Len = wire.HeaderLen / 8
	return message{bytes: k.d.AppendHeader(make([]byte, 0, wire.HeaderLen), h), size: wire.HeaderLen}
}

func (k *Manager) checkBase(r *request) wire.Errno {
	var err error
	if r.hdr, err = k.d.Header(r.msg); err != nil {
		return wire.EMSGSIZE
	}
	if r.hdr.Version != wire.Version || r.hdr.Reserved != 0 || r.hdr.Type == wire.MsgReserved || r.hdr.Type > msgMax {
		return wire.EINVAL
	}
	if int(r.hdr.Len) != len(r.msg)/8 || r.hdr.Len < wire.HeaderLen/8 {
		return wire.EMSGSIZE
	}
	return wire.OK
}

// leastSize is the size in bytes that an extension has at least.
var leastSize = [extMax + 1]int{
	wire.ExtSA: 16, wire.ExtLifetimeCurrent: 32, wire.ExtLifetimeHard: 32, wire.ExtLifetimeSoft: 32,
	wire.ExtAddressSrc: 8, wire.ExtAddressDst: 8, wire.ExtAddressProxy: 8, wire.ExtKeyAuth: 8, wire.ExtKeyEncrypt: 8,
	wire.ExtIdentitySrc: 16, wire.ExtIdentityDst: 16, wire.ExtSensitivity: 16, wire.ExtProposal: 8,
	wire.ExtSupportedAuth: 8, wire.ExtSupportedEncrypt: 8, wire.ExtSPIRange: 16, wire.KAMEExtXKMPrivate: 8,
	wire.KAMEExtXPolicy: 16, wire.KAMEExtXSA2: 16, wire.KAMEExtXNATTType: 8, wire.KAMEExtXNATTSPort: 8,
	wire.KAMEExtXNATTDPort: 8, wire.KAMEExtXNATTOA: 8, wire.LinuxExtXSecCtx: 8, wire.LinuxExtXKMAddress: 8,
	wire.LinuxExtXFilter: 40,
}

// parse finds the extensions, checking each in the order of appearance. Those of unknown types are skipped.
func (k *Manager) parse(r *request) wire.Errno {
	for e, err := range k.d.Walk(r.msg) {
		if err != nil || e.Type == wire.ExtReserved {
			return wire.EINVAL
		}
		if e.Type > extMax {
			continue
		}
		if len(e.Raw) < leastSize[e.Type] || r.has(e.Type) || !k.wellFormed(e) {
			return wire.EINVAL
		}
		r.ext[e.Type] = e.Raw
	}
	return wire.OK
}

// secCtxMax is how long a security context may be, in bytes.
const secCtxMax = 4096

func (k *Manager) wellFormed(e wire.Ext) bool {
	switch e.Type {
	case wire.ExtAddressSrc, wire.ExtAddressDst, wire.ExtAddressProxy, wire.KAMEExtXNATTOA:
		switch family, _ := k.d.AddressFamily(e.Raw); family {
		case k.d.AFInet:
			return len(e.Raw) == 24 && e.Raw[5] <= 32
		case k.d.AFInet6:
			return len(e.Raw) == 40 && e.Raw[5] <= 128
		}
		return false
	case wire.ExtKeyAuth, wire.ExtKeyEncrypt:
		bits := int(k.d.Order.Uint16(e.Raw[4:]))
		return (8+(bits+7)/8+7)/8 <= len(e.Raw)/8
	case wire.LinuxExtXSecCtx:
		n := int(k.d.Order.Uint16(e.Raw[6:]))
		return n <= secCtxMax && (8+n+7)/8 == len(e.Raw)/8
	}
	return true
}

// address reads an address extension, which parse has checked.
func (k *Manager) address(r *request, t wire.ExtType) wire.Address {
	a, _ := k.d.ParseAddress(r.ext[t])
	return a
}

// ends reads source and destination; false unless both are there and of one family.
func (k *Manager) ends(r *request) (src, dst wire.Address, ok bool) {
	if !r.has(wire.ExtAddressSrc) || !r.has(wire.ExtAddressDst) {
		return src, dst, false
	}
	src, dst = k.address(r, wire.ExtAddressSrc), k.address(r, wire.ExtAddressDst)
	return src, dst, src.Addr.Is4() == dst.Addr.Is4()
}

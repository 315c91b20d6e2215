package pfkey

import "github.com/pfkeyd/pfkeyd/wire"

// StateKey says whether a message changes what belongs to the socket it is sent on, and not to the databases: REGISTER
// and X_PROMISC do. Whoever keeps such messages can make the socket of another engine what this one was, by
// [Conn.Replay]. Of two messages with one key the later one is enough. The key is 0 for all other messages, and for
// what is too short to be one.
func StateKey(msg []byte) uint32 {
	if len(msg) < wire.HeaderLen {
		return 0
	}
	key := uint32(msg[1]) << 16
	switch wire.MsgType(msg[1]) {
	case wire.MsgRegister: // for one type, or with extensions for several
		key |= uint32(msg[3])
		if len(msg) > wire.HeaderLen {
			key |= 1 << 8
		}
		return key
	case wire.MsgXPromisc: // on or off
		return key
	}
	return 0
}

package afkey

import (
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Expired implements [transform.Manager]: registered sockets hear of a lifetime that has passed.
func (k *Manager) Expired(s *transform.State, hard bool) {
	if !showable(s) {
		return
	}
	show := showSoft
	if hard {
		show = showHard
	}
	b := k.appendSA(make([]byte, 0, 224), wire.Header{Version: wire.Version, Type: wire.MsgExpire}, s, show, false)
	k.broadcast(message{bytes: b, size: len(b)}, toRegistered, nil)
}

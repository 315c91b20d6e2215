package openbsd

import "github.com/pfkeyd/pfkeyd/wire"

// SysctlDump reads what net.key.sadb_dump (name "sadb") or net.key.spd_dump ("spd") have of a routing domain: SAs of a
// type, 0 for all, or flows. need is how many bytes the original announces to whoever brings no buffer. ENOENT: there
// is no such domain. The messages are the caller's, and have keys. It takes the control lock.
func (k *Kernel) SysctlDump(name string, satype, rdomain int) (msgs [][]byte, need int, errno wire.Errno) {
	k.e.Do(func() {
		if !k.hasRDomain(rdomain) {
			errno = wire.ENOENT
			return
		}
		if name == "spd" {
			msgs = k.dumpFlows(rdomain)
		} else {
			for _, s := range k.inOrder(rdomain) {
				if satype == 0 || satype == int(s.SAType) {
					b := k.d.AppendHeader(make([]byte, 0, wire.HeaderLen+s.room()), wire.Header{Version: wire.Version,
						Type: wire.MsgDump, SAType: k.d.SAType(s.SAType)})
					msgs = append(msgs, k.d.Finish(k.appendSA(b, s)))
					need += tagRoom(s.Tag)
				}
			}
		}
		for _, m := range msgs {
			need += len(m)
		}
	})
	return msgs, need, errno
}

// tagRoom is by how many bytes the original announces too much for a tag: it counts the longest name there may be.
func tagRoom(tag *wire.Tag) int {
	if tag == nil {
		return 0
	}
	const longest = 64
	return longest - (len(tag.Name)+1+7)&^7
}

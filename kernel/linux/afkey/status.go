package afkey

import (
	"github.com/pfkeyd/pfkeyd/engine"
)

// DescribeSocket adds what PF_KEY keeps of a socket.
func (k *Manager) DescribeSocket(st *engine.SocketStatus, s *engine.Socket) {
	c := clientOf(s)
	for t := uint8(0); t <= satypeMax; t++ {
		if c.registered&(1<<t) != 0 {
			st.Registered = append(st.Registered, k.d.SATypeName(k.d.SAType(t)))
		}
	}
	if c.promisc {
		st.Flags = append(st.Flags, "promisc")
	}
	if c.dump != nil {
		st.Flags = append(st.Flags, "dumping")
	}
}

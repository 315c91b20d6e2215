package wire

import "fmt"

// A Hosting stands between a kernel and programs that were compiled on another system. Such a program speaks the
// kernel's dialect, but its sockaddrs, its address families and its errno numbers are those of the system whose headers
// it was compiled with: a sockaddr of Linux begins with a family of two bytes, one of a BSD with a length and a family
// of one byte each.
//
// Messages are translated in place and keep their lengths. In the base header that is the errno, in an extension the
// first two bytes of each sockaddr, and in an X_PROMISC the same in the message that it wraps. What is malformed is
// translated as far as it makes sense, so that the kernel finds the fault itself. A translation is one to one: the way
// back gives every byte that came, whatever it was, as KAME's kernels answer a refused message with the message. A
// family other than IPv4 and IPv6 has the length 0 on a BSD, which no kernel takes.
//
// A Hosting is immutable and safe for concurrent use.
type Hosting struct {
	kernel, program *Dialect
	heads           [2][2]uint16 // of the sockaddrs of IPv4 and IPv6: the kernel's and the program's

	kernelErrno, programErrno [256]uint8 // by the other's number
}

// NewHosting makes one for programs that were compiled on the system whose dialect machine is. The error says that they
// need more room for a sockaddr than the kernel has in its place, or less: illumos' sockaddr_in6 has 32 bytes, all
// others have 28.
func NewHosting(kernel, machine *Dialect) (*Hosting, error) {
	if own, other := kernel.t.sockaddrIn6, machine.t.sockaddrIn6; own != other {
		return nil, fmt.Errorf("wire: a sockaddr_in6 has %d bytes on %s, and %d on %s", own, kernel.Name, other,
			machine.Name)
	}
	p, t := *kernel, *kernel.t
	p.AFInet, p.AFInet6, p.SockaddrLen = machine.AFInet, machine.AFInet6, machine.SockaddrLen
	t.errnos = machine.t.errnos
	p.t = &t
	h := &Hosting{kernel: kernel, program: &p}
	for i, d := range [2]*Dialect{kernel, &p} {
		h.heads[0][i], h.heads[1][i] = d.headIn4(), d.headIn6()
	}
	h.pairErrnos()
	return h, nil
}

// Program is the kernel's dialect as the programs speak it.
func (h *Hosting) Program() *Dialect { return h.program }

// ToKernel translates what a program has sent.
func (h *Hosting) ToKernel(msg []byte) { h.translate(msg, h.program, h.kernel, &h.kernelErrno) }

// ToProgram translates what the kernel says.
func (h *Hosting) ToProgram(msg []byte) { h.translate(msg, h.kernel, h.program, &h.programErrno) }

func (h *Hosting) translate(msg []byte, from, to *Dialect, errno *[256]uint8) {
	for len(msg) >= HeaderLen {
		msg[2] = errno[msg[2]]
		inner := msg[HeaderLen:]
		if from.MsgType(msg[1]) != MsgXPromisc || !from.isWhole(inner) {
			break
		}
		msg = inner
	}
	for x, err := range from.Walk(msg) {
		if err != nil {
			return
		}
		if r := from.ext(x.Type); r != nil && r.shape.sockaddrs != nil {
			r.shape.sockaddrs(from, x.Raw, func(p []byte) { to.putHead(p, h.other(from.head(p))) })
		}
	}
}

// isWhole says whether msg has the length that its base header says.
func (d *Dialect) isWhole(msg []byte) bool {
	return len(msg) >= HeaderLen && int(d.u16(msg[4:]))*8 == len(msg)
}

// other changes the heads of the one system into those of the other, and the other way round.
func (h *Hosting) other(head uint16) uint16 {
	for _, pair := range h.heads {
		switch head {
		case pair[0]:
			return pair[1]
		case pair[1]:
			return pair[0]
		}
	}
	return head
}

// pairErrnos gives each number of one system a number of the other: that of the same name, and to those without, which
// no kernel has, the same number or else one that is left over.
func (h *Hosting) pairErrnos() {
	var known, taken [256]bool // numbers of the program, of the kernel
	pair := func(program, kernel uint8) {
		if !known[program] && !taken[kernel] {
			known[program], taken[kernel] = true, true
			h.kernelErrno[program], h.programErrno[kernel] = kernel, program
		}
	}
	for e := range errnoCount {
		pair(h.program.ErrnoNumber(e), h.kernel.ErrnoNumber(e))
	}
	for n := range 256 {
		pair(uint8(n), uint8(n))
	}
	for n := range 256 {
		for k := 0; k < 256 && !known[n]; k++ {
			pair(uint8(n), uint8(k))
		}
	}
}

// The head of a sockaddr is its first two bytes: the family, or the length and the family.

func (d *Dialect) head(p []byte) uint16 {
	if d.SockaddrLen {
		return uint16(p[0])<<8 | uint16(p[1])
	}
	return d.u16(p)
}

func (d *Dialect) putHead(p []byte, head uint16) {
	if d.SockaddrLen {
		p[0], p[1] = uint8(head>>8), uint8(head)
	} else {
		d.put16(p, head)
	}
}

func (d *Dialect) headIn4() uint16 { return d.headOf(d.AFInet, sockaddrIn4) }
func (d *Dialect) headIn6() uint16 { return d.headOf(d.AFInet6, d.t.sockaddrIn6) }

func (d *Dialect) headOf(family uint16, size int) uint16 {
	if d.SockaddrLen {
		return uint16(size)<<8 | family
	}
	return family
}

// eachSockaddr visits n sockaddrs that lie back to back, as far as they are there, and none behind one of which nobody
// can tell how long it is.
func (d *Dialect) eachSockaddr(p []byte, n int, visit func([]byte)) {
	for ; n > 0 && len(p) >= 2; n-- {
		size := len(p)
		switch d.head(p) {
		case d.headIn4():
			size = sockaddrIn4
		case d.headIn6():
			size = d.t.sockaddrIn6
		}
		visit(p)
		p = p[min(size, len(p)):]
	}
}

package launch

import "golang.org/x/sys/unix"

// Where the filter finds things in struct seccomp_data. Of arguments only the lower half is looked at: all that are
// tested are of type int or small; both machines are little-endian.
const (
	offsetCall = 0
	offsetArch = 4
	offsetArgs = 16
)

// What is done with a call.
const (
	notify  = unix.SECCOMP_RET_USER_NOTIF
	succeed = unix.SECCOMP_RET_ERRNO // with errno 0: returns 0 without having been done
)

// Socket options that set an IPsec policy on one socket. Kernels without IPsec refuse them, and key daemons want them
// to work.
const (
	ipIPsecPolicy   = 16 // IP_IPSEC_POLICY
	ipXfrmPolicy    = 17 // IP_XFRM_POLICY
	ipv6IPsecPolicy = 34 // IPV6_IPSEC_POLICY
	ipv6XfrmPolicy  = 35 // IPV6_XFRM_POLICY
	udpEncap        = 100
)

// The ioctls of sockets. A few of them are done before the kernel asks what kind of socket it is.
const (
	firstSocketIoctl, lastSocketIoctl = 0x8900, 0x89ff
	outputQueue                       = unix.TIOCOUTQ
)

var generalIoctls = []uint32{
	0x8901, 0x8902, 0x8903, 0x8904, // FIOSETOWN, SIOCSPGRP, FIOGETOWN, SIOCGPGRP
	0x8906, 0x8907, 0x8912, unix.SIOCGSKNS, // SIOCGSTAMP, SIOCGSTAMPNS, SIOCGIFCONF
}

// A rule says what to do with a system call whose arguments pass all tests.
type rule struct {
	call   uint32
	tests  []test
	action uint32
}

// A test is one comparison of a word of struct seccomp_data with a constant.
type test struct {
	offset uint32
	jump   uint16 // BPF_JEQ, ...
	k      uint32
	not    bool
}

func argument(n uint32) (offset uint32) { return offsetArgs + 8*n }

func equal(arg, k uint32) test   { return test{argument(arg), unix.BPF_JEQ, k, false} }
func other(arg, k uint32) test   { return test{argument(arg), unix.BPF_JEQ, k, true} }
func noBit(arg, k uint32) test   { return test{argument(arg), unix.BPF_JSET, k, true} }
func atMost(arg, k uint32) test  { return test{argument(arg), unix.BPF_JGT, k, true} }
func atLeast(arg, k uint32) test { return test{argument(arg), unix.BPF_JGE, k, false} }

// sends are the calls that send. Those that write at a place in a file fail for sockets anyway.
var sends = []uint32{
	unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG, unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_PWRITEV2,
}

// rules are what the filter does. guarded says that it keeps programs from hiding their memory.
func (o Options) rules(guarded bool) []rule {
	rules := []rule{{unix.SYS_SOCKET, []test{equal(0, unix.AF_KEY)}, notify}}
	if !o.NoGate {
		for _, call := range sends {
			rules = append(rules, rule{call, nil, notify})
		}
		// The file that lists the sockets. What opens a file to read it is stopped, because the name of the file is out
		// of the filter's reach.
		const others = unix.O_ACCMODE | unix.O_CREAT | unix.O_DIRECTORY | unix.O_PATH
		rules = append(rules, rule{unix.SYS_OPENAT, []test{noBit(2, others)}, notify})
		if callOpen != 0 {
			rules = append(rules, rule{callOpen, []test{noBit(1, others)}, notify})
		}
		if guarded {
			rules = append(rules, rule{unix.SYS_PRCTL, []test{equal(0, unix.PR_SET_DUMPABLE), equal(1, 0)}, succeed})
		}
	}
	rules = append(rules, o.policyRules()...)
	if o.UDPEncap {
		rules = append(rules, rule{unix.SYS_SETSOCKOPT, []test{equal(1, unix.IPPROTO_UDP), equal(2, udpEncap)},
			succeed})
	}
	// What a Unix socket does otherwise than a PF_KEY socket.
	for _, call := range []uint32{
		unix.SYS_BIND, unix.SYS_CONNECT, unix.SYS_LISTEN, callAccept & 0xffff, unix.SYS_ACCEPT4, unix.SYS_SHUTDOWN,
		unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
	} {
		rules = append(rules, rule{call, nil, notify})
	}
	for _, option := range []uint32{
		unix.SO_TYPE, unix.SO_DOMAIN, unix.SO_PEERCRED, soPeerName, soPeekOff, soPeerGroups, soPeerPidFD,
		unix.SO_RCVBUF, unix.SO_SNDBUF,
	} {
		rules = append(rules, rule{unix.SYS_GETSOCKOPT, []test{equal(1, unix.SOL_SOCKET), equal(2, option)}, notify})
	}
	for _, option := range []uint32{unix.SO_RCVBUF, unix.SO_SNDBUF, soPeekOff} {
		rules = append(rules, rule{unix.SYS_SETSOCKOPT, []test{equal(1, unix.SOL_SOCKET), equal(2, option)}, notify})
	}
	ioctls := []test{atLeast(1, firstSocketIoctl), atMost(1, lastSocketIoctl)}
	for _, n := range generalIoctls {
		ioctls = append(ioctls, other(1, n))
	}
	rules = append(rules,
		rule{unix.SYS_IOCTL, ioctls, notify},
		rule{unix.SYS_IOCTL, []test{equal(1, outputQueue)}, notify})
	if o.Identity {
		for _, call := range []uint32{
			unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID,
			unix.SYS_SETRESGID,
			unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_SETGROUPS,
		} {
			rules = append(rules, rule{call, nil, succeed})
		}
	}
	return rules
}

// policyRules are about the policies of single sockets, which succeed without effect where the engine has no packets of
// this machine.
func (o Options) policyRules() []rule {
	action, options := uint32(succeed), [][2]uint32{
		{unix.IPPROTO_IP, ipIPsecPolicy}, {unix.IPPROTO_IPV6, ipv6IPsecPolicy},
		{unix.IPPROTO_IP, ipXfrmPolicy}, {unix.IPPROTO_IPV6, ipv6XfrmPolicy},
	}
	if o.Own != nil {
		action, options = notify, options[:2] // the others are in the kernel's own words
	}
	var rules []rule
	for _, p := range options {
		rules = append(rules, rule{unix.SYS_SETSOCKOPT, []test{equal(1, p[0]), equal(2, p[1])}, action})
	}
	return rules
}

// assemble makes the filter. Calls of other machines, 32-bit ones for instance, and those that no rule names are let
// through.
func assemble(rules []rule) []unix.SockFilter {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	ret := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	program := []unix.SockFilter{
		load(offsetArch),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: auditArch, Jt: 1},
		ret(unix.SECCOMP_RET_ALLOW),
	}
	for _, r := range rules {
		// The call, each test and the action are a load and a jump each, but for the last, which is one instruction.
		tests := append([]test{{offsetCall, unix.BPF_JEQ, r.call, false}}, r.tests...)
		left := 2*len(tests) + 1
		for _, t := range tests {
			left -= 2
			jump := unix.SockFilter{Code: unix.BPF_JMP | t.jump | unix.BPF_K, K: t.k}
			if t.not {
				jump.Jt = uint8(left)
			} else {
				jump.Jf = uint8(left)
			}
			program = append(program, load(t.offset), jump)
		}
		program = append(program, ret(r.action))
	}
	return append(program, ret(unix.SECCOMP_RET_ALLOW))
}

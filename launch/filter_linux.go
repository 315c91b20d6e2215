package launch

import "golang.org/x/sys/unix"

// Where the filter finds things in struct seccomp_data. Of arguments only the lower half is looked at: all that are tested
// are of type int or small; both machines are little-endian.
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

// Socket options that set an IPsec policy on one socket. Kernels without IPsec refuse them, and key daemons want them to work.
const (
	ipIPsecPolicy   = 16 // IP_IPSEC_POLICY
	ipXfrmPolicy    = 17 // IP_XFRM_POLICY
	ipv6IPsecPolicy = 34 // IPV6_IPSEC_POLICY
	ipv6XfrmPolicy  = 35 // IPV6_XFRM_POLICY
	udpEncap        = 100
)

// headerLen is what programs peek at to learn the length of a message.
const headerLen = 16

// gatedWait is the longest poll, in milliseconds, that counts as looking without waiting. One program of those known waits
// for 1.
const gatedWait = 10

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

func equal(arg, k uint32) test  { return test{argument(arg), unix.BPF_JEQ, k, false} }
func atMost(arg, k uint32) test { return test{argument(arg), unix.BPF_JGT, k, true} }
func anyBit(arg, k uint32) test { return test{argument(arg), unix.BPF_JSET, k, false} }

// rules are what the filter does.
func (o Options) rules() []rule {
	rules := []rule{{unix.SYS_SOCKET, []test{equal(0, unix.AF_KEY)}, notify}}
	for _, p := range [][2]uint32{
		{unix.IPPROTO_IP, ipIPsecPolicy}, {unix.IPPROTO_IP, ipXfrmPolicy},
		{unix.IPPROTO_IPV6, ipv6IPsecPolicy}, {unix.IPPROTO_IPV6, ipv6XfrmPolicy},
	} {
		rules = append(rules, rule{unix.SYS_SETSOCKOPT, []test{equal(1, p[0]), equal(2, p[1])}, succeed})
	}
	if o.UDPEncap {
		rules = append(rules, rule{unix.SYS_SETSOCKOPT, []test{equal(1, unix.IPPROTO_UDP), equal(2, udpEncap)}, succeed})
	}
	if !o.NoGate {
		rules = append(rules,
			rule{unix.SYS_RECVFROM, []test{equal(2, headerLen), anyBit(3, unix.MSG_PEEK)}, notify},
			rule{unix.SYS_RECVFROM, []test{anyBit(3, unix.MSG_DONTWAIT)}, notify})
		rules = append(rules, pollRules...)
	}
	if o.Identity {
		for _, call := range []uint32{
			unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID,
			unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_SETGROUPS,
		} {
			rules = append(rules, rule{call, nil, succeed})
		}
	}
	return rules
}

// assemble makes the filter. Calls of other machines, 32-bit ones for instance, and those that no rule names are let through.
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

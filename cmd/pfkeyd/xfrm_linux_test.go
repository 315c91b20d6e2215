package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

func init() { morePrograms["shielded"] = func() { os.Exit(shielded()) } }

// everything is a policy against all packets that go out.
func everything() pfkey.Policy {
	all := wire.Address{Addr: netip.IPv4Unspecified(), Proto: 255}
	return pfkey.Policy{Direction: wire.KAMEDirOut, Src: all, Dst: all, Type: wire.KAMEPolicyDiscard}
}

// shielded is a key daemon whose kernel lets nothing out but what it exempts itself.
func shielded() int {
	ctx, fails := context.Background(), 0
	expect := func(what string, got error, want unix.Errno) {
		if want == 0 && got == nil || errors.Is(got, want) && want != 0 {
			return
		}
		fmt.Printf("FAIL %s: %v, want %v\n", what, got, want)
		fails++
	}
	c, err := pfkey.Dial(ctx, "af_key:")
	expect("a socket", err, 0)
	if err != nil {
		return 1
	}
	defer c.Close()
	_, err = c.AddPolicy(ctx, everything())
	expect("a policy", err, 0)
	to := &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}
	for _, bypass := range []bool{false, true} {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		expect("a socket", err, 0)
		want := unix.EPERM
		if bypass {
			const ipIPsecPolicy = 16
			v := wire.Linux().AppendPolicy(nil, wire.Policy{Type: wire.KAMEPolicyBypass, Direction: wire.KAMEDirOut})
			expect("IP_IPSEC_POLICY", unix.SetsockoptString(s, unix.IPPROTO_IP, ipIPsecPolicy, string(v)), 0)
			want = 0
		}
		expect(fmt.Sprint("a packet, bypass ", bypass), unix.Sendto(s, []byte("x"), 0, to), want)
		unix.Close(s)
	}
	fmt.Println("policies in", os.Getenv(pfkey.EngineVariable))
	return fails
}

// This machine's own kernel behind PF_KEY: what it is told it keeps, and does, whoever is in front of it.
func TestServeXFRM(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	bringUp(t, "lo", "127.0.0.1/8")
	for _, name := range []string{"disable_xfrm", "disable_policy"} { // or packets to this host go past policies
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/lo/"+name, []byte("0"), 0); err != nil {
			t.Skip(err)
		}
	}
	dir := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	engine := "xfrm:" + filepath.Join(dir, "pfkeyd", "xfrm.sock")
	stop := servingXFRM(t)
	needRun(t)
	client := filepath.Join(t.TempDir(), "shielded")
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, client)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--kernel", "xfrm"}, {"--engine", engine}} {
		cmd := pfkeyd(t, append(append([]string{"run"}, args...), "--", client)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if out, err := cmd.Output(); err != nil || !strings.HasPrefix(string(out), "policies in xfrm:") {
			t.Errorf("run %v: %v: %s%s", args, err, out, &stderr)
		}
		if n := policiesOf(t, engine); n != 1 {
			t.Errorf("run %v: %d policies, want 1", args, n)
		}
		c, err := pfkey.Dial(t.Context(), engine)
		if err != nil {
			t.Fatal(err)
		}
		if args[0] == "--kernel" { // the next one adds it again
			if err := c.FlushPolicies(t.Context()); err != nil {
				t.Error(err)
			}
		}
		c.Close()
	}
	stop()
	servingXFRM(t)
	if n := policiesOf(t, engine); n != 1 {
		t.Errorf("%d policies after a restart, want 1", n)
	}
	const send = "ipsecinject send --src 192.0.2.1 --dst 192.0.2.2 --spi 0x1000 --enc null --engine "
	for args, says := range map[string]string{
		"pfkeyd clock +8h --engine " + engine: "its time is this machine's",
		send + engine:                         "no packet port",
	} {
		code, _, stderr := inProcess(t, false, strings.Fields(args)...)
		if code != 2 || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
}

// policiesOf counts the policies that status shows.
func policiesOf(t *testing.T, engine string) int {
	t.Helper()
	code, stdout, stderr := inProcess(t, false, "pfkeyd", "status", "--json", "--engine", engine)
	var st control.Status
	if err := json.Unmarshal([]byte(stdout), &st); code != 0 || err != nil {
		t.Fatalf("status: exit %d, %v, %s", code, err, stderr)
	}
	return st.PolicyCount
}

// servingXFRM is serving with this machine's kernel.
func servingXFRM(t *testing.T) (stop func()) {
	t.Helper()
	needXFRM(t)
	return serving(t, "--kernel", "xfrm")
}

// needXFRM skips where this machine's kernel has no XFRM.
func needXFRM(t *testing.T) {
	t.Helper()
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM)
	if err != nil {
		t.Skip("this machine's kernel has no XFRM: ", err)
	}
	unix.Close(s)
}

// Who may not administer IPsec here is told what is missing and how to get it, by every command.
func TestXFRMUnprivileged(t *testing.T) {
	elsewhere(t)
	needXFRM(t)
	for _, tt := range []struct {
		line string
		code int
		says []string
	}{
		{"serve --kernel xfrm --socket x.sock", 1, []string{"CAP_NET_ADMIN is missing", "--map-root-user --net"}},
		{"run --kernel xfrm --socket x.sock -- true", 1, []string{"CAP_NET_ADMIN is missing", "--map-root-user --net"}},
		{"conform --kernel xfrm --run ^base/", 3, []string{"no network namespace", "--map-root-user", "not permitted"}},
		{"record --kernel xfrm --random 1", 3, []string{"no network namespace", "--map-root-user", "not permitted"}},
	} {
		cmd := pfkeyd(t, strings.Fields(tt.line)...)
		cmd.Dir = shortDir(t)
		if os.Geteuid() == 0 {
			const nobody = 65534
			if err := os.Chown(cmd.Dir, nobody, nobody); err != nil {
				t.Skip("nobody else can be had here: ", err)
			}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		out, err := cmd.CombinedOutput()
		if cmd.Process == nil {
			t.Skip("nobody else can be had here: ", err)
		}
		for _, says := range tt.says {
			if exitCode(err) != tt.code || !strings.Contains(string(out), says) {
				t.Errorf("%s: exit %d, want %d and %q: %s", tt.line, exitCode(err), tt.code, says, out)
			}
		}
	}
}

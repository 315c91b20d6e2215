package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	injectcli "github.com/pfkeyd/pfkeyd/cmd/ipsecinject/cli"
	keycli "github.com/pfkeyd/pfkeyd/cmd/ipseckey/cli"
	"github.com/pfkeyd/pfkeyd/cmd/pfkeyd/cli"
	"github.com/pfkeyd/pfkeyd/testdata/pcaps"
)

func TestMain(m *testing.M) {
	program := func(run func(ctx context.Context) int) func() {
		return func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			os.Exit(run(ctx))
		}
	}
	programs := map[string]func(){
		"pfkeyd": program(func(ctx context.Context) int {
			return cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout,
				os.Stderr)
		}),
		"ipsecinject": program(func(ctx context.Context) int {
			return injectcli.Run(ctx, os.Args[1:], os.Stdin,
				os.Stdout, os.Stderr)
		}),
		"ipseckey": program(func(ctx context.Context) int {
			return keycli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout,
				os.Stderr)
		}),
	}
	maps.Copy(programs, morePrograms)
	testscript.Main(m, programs)
}

// morePrograms are those of one system's tests.
var morePrograms = map[string]func(){}

// background are the programs that a script has started with "start".
type background struct {
	cmd    *exec.Cmd
	mu     sync.Mutex
	output strings.Builder
	ended  chan struct{}
}

// The commands that the scripts have beside those of testscript:
//
//	start NAME PATTERN PROGRAM ARGS...   starts a program and goes on when a line of its output matches PATTERN
//	finish NAME [SIGNAL]                 sends a signal, if named, and waits; the output becomes the file NAME
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"start": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 3 {
			ts.Fatalf("usage: start NAME PATTERN PROGRAM ARGS...")
		}
		pattern, err := regexp.Compile(args[1])
		ts.Check(err)
		path, err := exec.LookPath(filepath.Join(binDir(ts), args[2]))
		ts.Check(err)
		b := &background{cmd: exec.Command(path, args[3:]...), ended: make(chan struct{})}
		b.cmd.Dir = ts.Getenv("WORK")
		b.cmd.Env = []string{"HOME=" + ts.Getenv("WORK"), "PFKEY_ENGINE=" + ts.Getenv("PFKEY_ENGINE"),
			"XDG_RUNTIME_DIR=" + ts.Getenv("WORK")}
		out, err := b.cmd.StdoutPipe()
		ts.Check(err)
		b.cmd.Stderr = b.cmd.Stdout
		ts.Check(b.cmd.Start())
		ts.Defer(func() { b.cmd.Process.Kill(); <-b.ended })
		ts.Value("background").(map[string]*background)[args[0]] = b
		matched := make(chan bool, 1)
		go func() {
			defer close(b.ended)
			lines := bufio.NewScanner(out)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				b.mu.Lock()
				b.output.WriteString(lines.Text() + "\n")
				b.mu.Unlock()
				if pattern.MatchString(lines.Text()) {
					select {
					case matched <- true:
					default:
					}
				}
			}
			b.cmd.Wait()
		}()
		select {
		case <-matched:
		case <-b.ended:
			ts.Fatalf("%s ended before a line matched %q:\n%s", args[0], args[1], b.text())
		}
	},
	"finish": func(ts *testscript.TestScript, neg bool, args []string) {
		if len(args) < 1 {
			ts.Fatalf("usage: finish NAME [SIGNAL]")
		}
		b := ts.Value("background").(map[string]*background)[args[0]]
		if b == nil {
			ts.Fatalf("%s was not started", args[0])
		}
		if len(args) > 1 {
			ts.Check(b.cmd.Process.Signal(map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM}[args[1]]))
		}
		<-b.ended
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.text()), 0o600))
		if b.cmd.ProcessState.Success() == neg {
			ts.Fatalf("%s: %v\n%s", args[0], b.cmd.ProcessState, b.text())
		}
	},
}

func (b *background) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.output.String()
}

// binDir is where testscript has put the programs.
func binDir(ts *testscript.TestScript) string { return filepath.SplitList(ts.Getenv("PATH"))[0] }

func setup(env *testscript.Env) error {
	env.Values["background"] = map[string]*background{}
	env.Setenv("SOCKET", filepath.Join(env.WorkDir, "e.sock"))
	env.Setenv("PFKEY_ENGINE", "illumos:"+filepath.Join(env.WorkDir, "e.sock"))
	env.Setenv("XDG_RUNTIME_DIR", env.WorkDir)
	return nil
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: commands, Setup: setup})
}

// TestWalk is the way of a packet from end to end, for captures of every kind that PF_KEY on illumos can describe:
// GETSPI for the SPI of the capture, the packet in (queued), UPDATE with the keys, the packet out, equal to what was in
// it.
func TestWalk(t *testing.T) {
	for _, name := range []string{
		"esp-aes128cbc-sha1-tra4", "esp-aes128cbc-sha1-tra6", "esp-aes128cbc-sha1-tun4", "esp-aes128cbc-sha1-tun6",
		"esp-aes128cbc-sha1-tun4in6",
		"esp-aes128gcm16-tra6", "esp-aes128gcm16-tun4", "esp-aes128gcm16-tun6", "esp-aes128gcm8-tun4",
		"esp-aes256gcm16-tra4",
		"esp-null-sha1-tra4", "esp-null-sha1-tra6", "esp-null-sha1-tun4", "esp-null-sha1-tun6", "esp-null-md5-tra4",
		"esp-3des-sha1-tra4", "esp-aes192cbc-md5-tun4", "esp-aes256cbc-sha384-tra6", "esp-aes256cbc-sha512-tun4",
		"esp-aes128cbc-sha256-128-tun6",
		"natt-aes128cbc-sha1-tra4", "ah-sha1-tun4", "ah-sha1-tra6",
	} {
		t.Run(name, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Files: []string{"testdata/walk.txtar"},
				Cmds:  commands,
				Setup: func(env *testscript.Env) error {
					if err := setup(env); err != nil {
						return err
					}
					return walkEnv(env, name)
				},
			})
		})
	}
}

// walkEnv tells the script what the sidecar of a capture says of its first packet from A to B.
func walkEnv(env *testscript.Env, name string) error {
	var side struct {
		Proto, Mode string
		UDPEncap    bool `json:"udp_encap"`
		InnerFamily int  `json:"inner_family"`
		SAs         []struct {
			SPI, Src, Dst string
			Enc, Auth     *struct {
				Key  string
				ID   int `json:"pfkey_id"`
				Name string
				ICV  int `json:"icv_bits"`
			}
			AEAD *struct {
				Key, Salt string
				ICV       int `json:"icv_bits"`
			}
		}
		Packets []struct{ Inner string }
	}
	text, err := pcaps.Files.ReadFile("esp-linux-6.1/" + name + ".json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &side); err != nil {
		return err
	}
	pcap, err := pcaps.Files.ReadFile("esp-linux-6.1/" + name + ".pcap")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(env.WorkDir, "capture.pcap"), pcap, 0o600); err != nil {
		return err
	}
	sa := side.SAs[0]
	family := "ipv4"
	if strings.Contains(sa.Dst, ":") {
		family = "ipv6"
	}
	tunnel := fmt.Sprintf("dladm create-iptun -T %s -a local=%s,remote=%s ip.tun0\n", family, sa.Dst, sa.Src)
	if err := os.WriteFile(filepath.Join(env.WorkDir, "tunnel"), []byte(tunnel), 0o600); err != nil {
		return err
	}
	update := []string{"update", side.Proto, "spi", sa.SPI, "src", sa.Src, "dst", sa.Dst, "replay", "32"}
	switch {
	case sa.AEAD != nil:
		alg := map[int]string{64: "aes-gcm8", 96: "aes-gcm12", 128: "aes-gcm16"}[sa.AEAD.ICV]
		update = append(update, "encralg", alg, "encrkey", sa.AEAD.Key+sa.AEAD.Salt)
	case sa.Enc != nil:
		alg := map[string]string{"cbc(aes)": "aes", "cbc(des3_ede)": "3des", "ecb(cipher_null)": "null"}[sa.Enc.Name]
		update = append(update, "encralg", alg)
		if sa.Enc.Key != "" {
			update = append(update, "encrkey", sa.Enc.Key)
		}
	}
	if sa.Auth != nil {
		alg := map[string]string{"hmac(md5)": "md5", "hmac(sha1)": "sha1", "hmac(sha256)": "sha256",
			"hmac(sha384)": "sha384", "hmac(sha512)": "sha512"}[sa.Auth.Name]
		update = append(update, "authalg", alg, "authkey", sa.Auth.Key)
	}
	if side.Mode == "tunnel" {
		any := "0.0.0.0/0"
		if side.InnerFamily == 6 {
			any = "::/0"
		}
		update = append(update, "isrc", any, "idst", any)
	}
	if side.UDPEncap {
		update = append(update, "encap", "udp", "nat_rem", "203.0.113.7", "nat_rport", "4500")
	}
	if err := os.WriteFile(filepath.Join(env.WorkDir, "update"), []byte(strings.Join(update, " ")+"\n"),
		0o600); err != nil {
		return err
	}
	env.Setenv("SATYPE", side.Proto)
	env.Setenv("SPI", sa.SPI)
	env.Setenv("SRC", sa.Src)
	env.Setenv("DST", sa.Dst)
	env.Setenv("INNER", side.Packets[0].Inner)
	return nil
}

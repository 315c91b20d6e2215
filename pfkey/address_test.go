package pfkey_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/pfkey"
)

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct {
		text string
		want pfkey.Address
		err  string
	}{
		{text: "illumos:/run/user/1000/pfkeyd/illumos.sock", want: pfkey.Address{Kernel: "illumos",
			Path: "/run/user/1000/pfkeyd/illumos.sock"}},
		{text: "linux:relative:with colon", want: pfkey.Address{Kernel: "linux", Path: "relative:with colon"}},
		{text: "af_key:", want: pfkey.Address{Kernel: "af_key"}},
		{text: "af_key:/dev/x", err: "has a path"},
		{text: "af_key", err: "neither KERNEL:PATH"},
		{text: "/run/illumos.sock", err: "neither KERNEL:PATH"},
		{text: "./x:y", err: "neither KERNEL:PATH"},
		{text: ":/run/x", err: "neither KERNEL:PATH"},
		{text: "", err: "neither KERNEL:PATH"},
		{text: "illumos:", err: "no path"},
		{text: "illumos:/a\x00b", err: "NUL"},
	} {
		got, err := pfkey.ParseAddress(tt.text)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: %v, want an error with %q", tt.text, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got)\n%s", tt.text, diff)
		}
		if got.String() != tt.text {
			t.Errorf("%q becomes %q", tt.text, got)
		}
	}
}

func TestAddressDialect(t *testing.T) {
	for _, kernel := range []string{"linux", "illumos"} {
		d, err := pfkey.Address{Kernel: kernel, Path: "x"}.Dialect()
		if err != nil || d.Name != kernel {
			t.Errorf("%s: %v %v", kernel, d, err)
		}
	}
	if _, err := (pfkey.Address{Kernel: "plan9", Path: "x"}).Dialect(); err == nil ||
		!strings.Contains(err.Error(), "illumos, linux") {
		t.Errorf("an unknown kernel: %v, want an error that names the known ones", err)
	}
}

// atHome gives the test a default directory of its own, with no engine running.
func atHome(t *testing.T) string {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv(pfkey.EngineVariable, "")
	return filepath.Dir(pfkey.DefaultPath("illumos"))
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := pfkey.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestDefaultAddress(t *testing.T) {
	dir := atHome(t)
	if _, err := pfkey.DefaultAddress(); !errors.Is(err, pfkey.ErrNoEngine) || !strings.Contains(err.Error(), dir) {
		t.Errorf("without a directory: %v", err)
	}
	l := listen(t, pfkey.DefaultPath("illumos"))
	want := pfkey.Address{Kernel: "illumos", Path: filepath.Join(dir, "illumos.sock")}
	if got, err := pfkey.DefaultAddress(); err != nil || got != want {
		t.Errorf("one engine: %v %v", got, err)
	}
	// What lies beside an engine is none.
	listen(t, pfkey.DefaultPath("illumos")+".packets")
	if err := os.WriteFile(filepath.Join(dir, "freebsd.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	leftover(t, filepath.Join(dir, "openbsd.sock"))
	if got, err := pfkey.DefaultAddress(); err != nil || got != want {
		t.Errorf("one engine among others: %v %v", got, err)
	}
	second := listen(t, pfkey.NamedPath("linux", "iked-7"))
	_, err := pfkey.DefaultAddress()
	if !errors.Is(err, pfkey.ErrManyEngines) || !strings.Contains(err.Error(), "--engine illumos:"+dir) ||
		!strings.Contains(err.Error(), "--engine linux:"+filepath.Join(dir, "linux.iked-7.sock")) {
		t.Errorf("two engines: %v, want both named", err)
	}
	t.Setenv(pfkey.EngineVariable, "af_key:")
	if got, err := pfkey.DefaultAddress(); err != nil || got.Kernel != pfkey.HostKernel {
		t.Errorf("told by the environment: %v %v", got, err)
	}
	t.Setenv(pfkey.EngineVariable, "nonsense")
	_, err = pfkey.DefaultAddress()
	bad, ok := errors.AsType[*pfkey.AddressError](err)
	if !ok || bad.From != pfkey.EngineVariable || !strings.Contains(err.Error(), bad.From) {
		t.Errorf("nonsense in the environment: %v", err)
	}
	t.Setenv(pfkey.EngineVariable, "")
	l.Close()
	if got, err := pfkey.DefaultAddress(); err != nil || got.Kernel != "linux" {
		t.Errorf("the one with a name is left: %v %v", got, err)
	}
	second.Close()
	if _, err := pfkey.DefaultAddress(); !errors.Is(err, pfkey.ErrNoEngine) {
		t.Errorf("after both are closed: %v", err)
	}
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	if got := filepath.Dir(pfkey.DefaultPath("illumos")); got != "/run/user/7/pfkeyd" {
		t.Errorf("got %s", got)
	}
	for _, not := range []string{"", "relative"} {
		t.Setenv("XDG_RUNTIME_DIR", not)
		if got := filepath.Dir(pfkey.DefaultPath("illumos")); filepath.Dir(got) != filepath.Clean(os.TempDir()) {
			t.Errorf("XDG_RUNTIME_DIR=%q: %s", not, got)
		}
	}
}

// The default directory must be ours alone, else anybody could sit where our engine is looked for.
func TestDefaultDirNotOurs(t *testing.T) {
	dir := atHome(t)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := pfkey.Listen(pfkey.DefaultPath("illumos")); err == nil || !strings.Contains(err.Error(), "0755") {
		t.Errorf("Listen in a directory for everybody: %v", err)
	}
	if _, err := pfkey.DefaultAddress(); err == nil || !strings.Contains(err.Error(), "0755") {
		t.Errorf("DefaultAddress in a directory for everybody: %v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(dir, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if _, err := pfkey.Listen(pfkey.DefaultPath("illumos")); err == nil ||
			!strings.Contains(err.Error(), "somebody else") {
			t.Errorf("Listen in a directory of somebody else: %v", err)
		}
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := pfkey.Listen(pfkey.DefaultPath("illumos")); err == nil ||
		!strings.Contains(err.Error(), "not a directory") {
		t.Errorf("Listen in a file: %v", err)
	}
}

// leftover makes what an engine that was killed leaves behind.
func leftover(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

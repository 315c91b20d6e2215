package conform_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/linux"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

func parsed(list ...string) (as []netip.Addr) {
	for _, s := range list {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

// serve runs an engine behind a Unix socket and returns its address.
func serve(t *testing.T, name string, o engine.Options) pfkey.Address {
	t.Helper()
	e, err := kernels.New(name, o)
	if err != nil {
		t.Fatal(err)
	}
	a := pfkey.Address{Kernel: name, Path: filepath.Join(t.TempDir(), "s")}
	l, err := pfkey.Listen(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	s := pfkey.NewServer(e, pfkey.ServerOptions{})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		<-done
		s.Close()
		e.Close()
	})
	return a
}

func running(a pfkey.Address) conform.Running {
	return conform.Running{Address: a, Kernel: of(a.Kernel), Clock: time.Now}
}

func against(t *testing.T, a pfkey.Address, recorded []*conform.Scenario) conform.Report {
	t.Helper()
	return report(t, conform.Config{Kernel: of(a.Kernel), Target: running(a),
		Patience: 20 * time.Second}, recorded)
}

// An engine behind its socket answers as recorded, as far as a socket can show it. It is not made anew for each
// scenario.
func TestAgainstEngine(t *testing.T) {
	// A fifth of them, for time, and none that sleeps.
	some := func(scs []*conform.Scenario) []*conform.Scenario {
		n := 0
		return slices.DeleteFunc(slices.Clone(scs), func(sc *conform.Scenario) bool {
			n++
			return sc.Timed ||
				n%5 != 0
		})
	}
	for _, tt := range []struct {
		kernel    string
		o         engine.Options
		recorded  []*conform.Scenario
		most      float64 // share of steps that may go unjudged
		deviating int     // at least
		reasons   []string
	}{
		{"linux", engine.Options{Clock: time.Now}, some(linuxRecordings(t)), 0.08, 0,
			[]string{"options and other calls", "less than a header", "op traffic needs a host"}},
		{"illumos", engine.Options{
			Addrs:     parsed("192.0.2.1", "192.0.2.5", "10.0.0.1", "2001:db8::1", "2001:db8::5", "fe80::1"),
			Broadcast: parsed("192.0.2.255", "192.0.2.0", "10.255.255.255", "10.0.0.0", "255.255.255.255"),
		}, some(builtin(t)), 0.27, 8, []string{"op inject needs a packet path", "op clock needs a clock"}},
		// The process that plays says who it is, and hears what the recorded one heard.
		{"openbsd", engine.Options{Clock: time.Now}, some(allOf(t, "openbsd", "openbsd")), 0.33, 0,
			[]string{"op output needs operations", "op keydump needs operations", "counting its ACQUIREs"}},
	} {
		t.Run(tt.kernel, func(t *testing.T) {
			t.Parallel()
			rep := against(t, serve(t, tt.kernel, tt.o), tt.recorded)
			why := map[string]bool{}
			for _, r := range rep.Results {
				if r.Status == conform.Failed {
					t.Errorf("%s: %v", r.Scenario, r.Differences)
				}
				if (r.Unjudged > 0) != (r.Skipped != "") || r.Status == conform.Skipped && r.Unjudged == 0 {
					t.Errorf("%s: %d steps unjudged, because %q", r.Scenario, r.Unjudged, r.Skipped)
				}
				why[r.Skipped] = true
			}
			for _, want := range tt.reasons {
				found := false
				for reason := range why {
					found = found || strings.Contains(reason, want)
				}
				if !found {
					t.Errorf("no step is unjudged for %q: %v", want, why)
				}
			}
			if (rep.Eased["policy"] > 0) != (tt.kernel == "linux") || len(rep.Eased) > 1 {
				t.Errorf("compared as volatile: %v; want the numbers of policies, on Linux", rep.Eased)
			}
			if share := float64(rep.Unjudged) / float64(rep.Steps); share > tt.most || rep.Unjudged == 0 ||
				rep.Deviating < tt.deviating {
				t.Errorf("%d of %d steps unjudged (%.2f), %d deviate", rep.Unjudged, rep.Steps, share, rep.Deviating)
			}
		})
	}
}

// A wrong answer of a running engine is found, and a policy that is numbered otherwise is none.
func TestAgainstEngineFindsDifferences(t *testing.T) {
	a := serve(t, "linux", engine.Options{Clock: time.Now})
	for _, sc := range linuxRecordings(t) {
		if sc.Name != "spd/two-auto-unique" && sc.Name != "base/short-15" && sc.Name != "delete/ok-v4" &&
			!strings.HasPrefix(sc.Name, "base/version-3") {
			continue
		}
		for i := range sc.Steps {
			for what, change := range changes(&sc.Steps[i]) {
				if what == "errno" && sc.Steps[i].Op == "open" {
					continue // a Unix socket opens as it likes
				}
				bent := sc.Clone()
				change(&bent.Steps[i])
				rep := against(t, a, []*conform.Scenario{sc, bent})
				if rep.Results[0].Status != conform.Passed {
					t.Fatalf("%s: %v", sc.Name, rep.Results[0].Differences)
				}
				if r := rep.Results[1]; r.Status != conform.Failed && r.Unjudged == 0 {
					t.Errorf("%s: step %d: %s: not found", sc.Name, i+1, what)
				}
			}
		}
	}
}

// Nobody at the address is told apart from scenarios that fail, and one who never answers ends the run.
func TestAgainstNobody(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "g.jsonl", []byte(passes+passes))
	silent := pfkey.Address{Kernel: "linux", Path: filepath.Join(dir, "silent")}
	l, err := net.Listen("unixpacket", silent.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		name    string
		address pfkey.Address
		want    string
	}{
		{"nobody", pfkey.Address{Kernel: "linux", Path: filepath.Join(dir, "nowhere")}, "no engine"},
		{"silence", silent, "has not answered within 50ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := conform.Running{Address: tt.address, Kernel: of("linux"), Clock: time.Now,
				Patience: 50 * time.Millisecond}
			c := conform.Config{Kernel: of("linux"), Paths: []string{good}, Target: target}
			_, err := conform.Run(t.Context(), c)
			if _, ok := errors.AsType[*conform.GoneError](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a GoneError with %q", err, tt.want)
			}
		})
	}
}

// The host's own kernel, where it has PF_KEY and we may make network namespaces: nothing outside of these is touched.
// The script .ci/live plays everything on a kernel that has it.
func TestAgainstHost(t *testing.T) {
	host := linux.Host{Clock: time.Now}
	m, err := host.Boot(&conform.Scenario{}, nil)
	if err != nil {
		if _, ok := errors.AsType[*conform.GoneError](err); !ok {
			t.Errorf("%v is no GoneError", err)
		}
		t.Skip(err)
	}
	m.Close()
	rep, err := conform.Run(t.Context(), conform.Config{Kernel: of("linux"),
		Run: "^(socket|base|flush|acquire|netlink|natt)/", Target: host, Patience: 20 * time.Second})
	if err != nil || rep.Passed == 0 || rep.Unjudged > 0 {
		t.Errorf("%v: %d passed, %d steps unjudged", err, rep.Passed, rep.Unjudged)
	}
	for _, r := range rep.Results {
		if r.Status != conform.Passed {
			t.Errorf("%s: %v", r.Scenario, r.Differences)
		}
	}
}

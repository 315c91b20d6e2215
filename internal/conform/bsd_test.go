package conform_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/conform"
)

// The emulators of NetBSD, FreeBSD and OpenBSD pass every recording, without a deviation.
func TestBSDsPass(t *testing.T) {
	for _, tt := range []struct {
		kernel, folder string
		recorded       int
		spans          []string // where bytes may differ
	}{
		{"netbsd", "netbsd", 4414, []string{"addtime", "spi", "uninit", "usetime"}},
		{"freebsd", "freebsd-13", 3110, []string{"addtime", "spi", "uninit", "usetime"}},
		{"openbsd", "openbsd", 2511, []string{"addtime", "dumpseq", "spi", "usetime"}},
	} {
		t.Run(tt.kernel, func(t *testing.T) {
			t.Parallel()
			scs := allOf(t, tt.folder, tt.kernel)
			if len(scs) != tt.recorded {
				t.Errorf("%d recordings, want %d", len(scs), tt.recorded)
			}
			for _, r := range report(t, conform.Config{Kernel: of(tt.kernel)}, scs).Results {
				if r.Status != conform.Passed {
					t.Errorf("%s: %s %v", r.Scenario, r.Skipped, r.Differences)
				}
				if r.Deviations != nil {
					t.Errorf("%s deviates: %v", r.Scenario, r.Deviations)
				}
			}
			spans := map[string]bool{}
			for _, sc := range scs {
				for _, st := range sc.Steps {
					for _, m := range st.Rx {
						for _, v := range m.Vol {
							spans[v.Name] = true
						}
					}
				}
			}
			if got := slices.Sorted(maps.Keys(spans)); !slices.Equal(got, tt.spans) {
				t.Errorf("volatile spans %q, want %q", got, tt.spans)
			}
		})
	}
}

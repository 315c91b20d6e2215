package conform_test

import (
	"context"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/conform"
)

// Conversations that were derived from a kernel's rules, and not recorded, end as the rules demand.
func TestDerivedConversations(t *testing.T) {
	rep, err := conform.Run(context.Background(), conform.Config{Kernel: of("illumos"),
		Paths: []string{"../../testdata/derived/illumos"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range rep.Unreadable {
		t.Error(err)
	}
	const want = 34
	if len(rep.Results) != want {
		t.Errorf("%d conversations, want %d", len(rep.Results), want)
	}
	for _, r := range rep.Results {
		if r.Status != conform.Passed || r.Deviations != nil {
			t.Errorf("%s: %s %v %v", r.Scenario, r.Status, r.Deviations, r.Differences)
		}
	}
}

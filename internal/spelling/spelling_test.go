package spelling_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/spelling"
)

func TestNearest(t *testing.T) {
	words := []string{"status", "serve", "clock", "ah"}
	for typed, want := range map[string]string{
		"status": "status", "stauts": "status", "Statu": "status", "clokc": "clock", "sreve": "serve",
		"s": "", "frobnicate": "", "": "", "ha": "ah", "xy": "", "aa": "ah", "ststs": "status",
	} {
		if got := spelling.Nearest(typed, words); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"abc", "acb", 1}, {"encrkye", "encrkey", 1}, {"kitten", "sitting", 3}} {
		if got := spelling.Distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

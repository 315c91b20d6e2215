package conform_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/conform"
)

// What the real kernels of the BSDs do not survive, or what has them use memory that is not meant, the emulated ones
// answer as it is listed, and stay up. Read the difference before updating.
func TestCrashAnswers(t *testing.T) {
	for _, name := range []string{"freebsd", "netbsd", "openbsd"} {
		t.Run(name, func(t *testing.T) {
			k := of(name)
			scenarios, _, bad := conform.Load(t.Context(), k, []string{"../../testdata/golden/" + name + "-crash"})
			if len(bad) > 0 || len(scenarios) == 0 {
				t.Fatal(len(scenarios), bad)
			}
			var got bytes.Buffer
			for _, sc := range scenarios {
				answered, err := conform.Play(conform.InProcess{Kernel: k}, k, sc)
				if err != nil {
					t.Errorf("%s: %v", sc.Name, err)
				} else if err := answered.Write(&got); err != nil {
					t.Fatal(err)
				}
			}
			file := "bsd/" + name + "-answers.jsonl"
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); d != "" {
				t.Errorf("(-listed +given):\n%s", d)
			}
		})
	}
}

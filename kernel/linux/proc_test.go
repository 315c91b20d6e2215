package linux_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// The list has the columns that Linux 6.1 was seen to write.
func TestList(t *testing.T) {
	e, err := kernels.New("linux", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for uid := range uint32(2) {
		s, errno := e.Open(pfkey.Cred{UID: 1000 * uid, Privileged: true}, 3, 2)
		if errno != 0 {
			t.Fatal(errno)
		}
		if uid == 1 {
			s.Send([]byte{2, 9, 0, 3, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}, pfkey.Cred{})
		}
	}
	var got strings.Builder
	if err := e.List(&got); err != nil {
		t.Fatal(err)
	}
	want := "sk       RefCnt Rmem   Wmem   User   Inode\n" +
		"0000000000000001 2      0      0      0      1     \n" +
		"0000000000000002 2      16     0      1000   2     \n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

package netns_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/netns"
)

func namespace(t *testing.T) *netns.Namespace {
	t.Helper()
	n, err := netns.New()
	if errors.Is(err, os.ErrPermission) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func inode(t *testing.T) string {
	t.Helper()
	name, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// What is done in a namespace is done there, and whoever asked for it stays where he was.
func TestDo(t *testing.T) {
	n := namespace(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := inode(t)
	var first, second string
	failed := errors.New("failed")
	if err := n.Do(func() error { first = inode(t); return failed }); err != failed {
		t.Errorf("error %v", err)
	}
	if err := n.Do(func() error { second = inode(t); return nil }); err != nil {
		t.Error(err)
	}
	if first == before || second != first || inode(t) != before {
		t.Errorf("from %s into %s and %s, and then in %s", before, first, second, inode(t))
	}
}

func TestAddAddr(t *testing.T) {
	n := namespace(t)
	for _, a := range []string{"192.0.2.1", "198.51.100.7"} {
		if err := n.AddAddr(netip.MustParseAddr(a)); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.AddAddr(netip.MustParseAddr("192.0.2.1")); !errors.Is(err, os.ErrExist) {
		t.Errorf("the same once more: %v", err)
	}
	if err := n.AddAddr(netip.MustParseAddr("2001:db8::1")); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	err := n.Do(func() error {
		list, err := net.InterfaceAddrs()
		var names []string
		for _, a := range list {
			names = append(names, a.String())
		}
		for _, want := range []string{"127.0.0.1/8", "192.0.2.1/32", "198.51.100.7/32"} {
			if !slices.Contains(names, want) {
				t.Errorf("%s is not among %q", want, names)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

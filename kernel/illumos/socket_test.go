package illumos_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// What the transport provider knows nothing of is refused.
func TestUnknownCalls(t *testing.T) {
	k := newTalk(t, engine.Options{})
	if errno := pfkey.CallOn(k.s, pfkey.CallBind); errno != wire.EOPNOTSUPP {
		t.Errorf("bind: %v", errno)
	}
	if errno := k.s.SetOption(pfkey.OptionUnknown, 1); errno != wire.EINVAL {
		t.Errorf("setsockopt of an unknown option: %v", errno)
	}
	if _, errno := k.s.GetOption(pfkey.OptionUnknown); errno != wire.EINVAL {
		t.Errorf("getsockopt of an unknown option: %v", errno)
	}
}

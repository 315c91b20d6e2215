//go:build !linux

package pfkey

import (
	"fmt"
	"runtime"

	"github.com/pfkeyd/pfkeyd/wire"
)

func hostDialect() (*wire.Dialect, error) {
	return nil, fmt.Errorf("pfkey: %w: the PF_KEY dialect of %s is not known yet, only Linux' own sockets can be used",
		ErrNoEngine, runtime.GOOS)
}

func openHost() (transport, error) {
	_, err := hostDialect()
	return nil, err
}

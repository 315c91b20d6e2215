//go:build !linux

package linux

import (
	"errors"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/packet"
)

// Boot implements [conform.Target].
func (Bridge) Boot(*conform.Scenario, func(string, *packet.Packet)) (conform.Machine, error) {
	return nil, &conform.GoneError{Err: errors.New("xfrm: is Linux's; this system has none")}
}

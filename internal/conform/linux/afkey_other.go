//go:build !linux

package linux

import (
	"errors"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/packet"
)

// Boot implements [conform.Target].
func (Host) Boot(*conform.Scenario, func(string, *packet.Packet)) (conform.Machine, error) {
	return nil, &conform.GoneError{Err: errors.New("af_key: is Linux's; this system has none")}
}

package bsd

import "github.com/pfkeyd/pfkeyd/internal/conform"

// FreeBSD is what testdata/golden/freebsd-13/README.md describes.
var FreeBSD = kernel("freebsd", map[string]*conform.Op{
	"inbound": {Args: conform.Parameters[patched], Results: conform.OfWires},
	"kldload": {Args: conform.Parameters[named]},
}, map[string]conform.Rule{
	"uninit": anything,
})

// patched is a packet with bytes of messages received earlier.
type patched struct {
	inbound
	Patch []conform.Patch `json:"patch,omitempty"` // at offsets of the packet
}

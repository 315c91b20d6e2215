package bsd

import "github.com/pfkeyd/pfkeyd/internal/conform"

// Darwin is what the recordings of xnu 11417 have.
var Darwin = kernel("darwin", map[string]*conform.Op{
	"clock": {Args: conform.Parameters[clock], Results: conform.OfWires}, // keepalives
	"wall":  {Args: conform.Parameters[wall]},                            // somebody sets the wall clock
}, map[string]conform.Rule{
	"created": {Size: 4, Judge: notYet},
})

package bsd

import (
	_ "embed"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// FreeBSD is what testdata/golden/freebsd-13/README.md describes.
var FreeBSD = played(kernel("freebsd", map[string]*conform.Op{
	"inbound": {Args: conform.Parameters[patched], Results: conform.OfWires, Needs: conform.NeedOwn},
	"kldload": {Args: conform.Parameters[module], Needs: conform.NeedOwn},
}, map[string]conform.Rule{
	"uninit": anything,
}), wire.FreeBSD())

//go:embed freebsd-answers.jsonl
var freebsdAnswers []byte

func init() {
	FreeBSD.Builtin, FreeBSD.Deviations = []string{"freebsd-13", "freebsd-crash"}, crashes(freebsdAnswers)
}

package conform

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/wire"
)

// asRecorded puts messages that may come in any order into that of the recording: each where one stands that is the
// same outside of its volatile spans. Those that have no such place take what is left, in the order in which they came.
func (j *Judge) asRecorded(want *Outcome, got []Message) []Message {
	if !want.Unordered {
		j.remember(want.Rx)
		return got
	}
	order, w, g := bySocket(want.Rx, got)
	var arranged []Message
	for _, s := range order {
		arranged = append(arranged, j.arrange(w[s], g[s])...)
	}
	return arranged
}

func (j *Judge) arrange(want, got []Message) []Message {
	rest := slices.Clone(got)
	arranged := make([]Message, len(want))
	var open []int // places of the recording that none of ours fits
	for i, m := range want {
		at := slices.IndexFunc(rest, func(x Message) bool { return sameOutside(m, x) })
		if at < 0 {
			open = append(open, i)
			continue
		}
		arranged[i] = rest[at]
		rest = slices.Delete(rest, at, at+1)
	}
	if j.seeded {
		j.rename(want, got, rest, open)
	}
	for n, i := range open {
		if n == len(rest) { // too few came
			for _, i := range slices.Backward(open[n:]) {
				arranged = slices.Delete(arranged, i, i+1)
			}
			return arranged
		}
		arranged[i] = rest[n]
	}
	return append(arranged, rest[len(open):]...)
}

func sameOutside(want, got Message) bool {
	return len(want.Hex) == len(got.Hex) && firstDifference(want.Hex, got.Hex, want.Vol) < 0
}

// rename has messages of a DUMP speak of the SAs that are left in the recording. Which SAs a full queue loses hangs on
// the random order of the DUMP. So ours may be about others, but each about one that the scenario has shown before, and
// no two about the same.
func (j *Judge) rename(want, got, rest []Message, open []int) {
	times := map[wire.SPI]int{}
	for _, m := range got {
		if spi := j.spiIn(m.Hex); spi != nil {
			times[SPIOf(spi)]++
		}
	}
	for n := range min(len(rest), len(open)) {
		recorded, ours := j.spiIn(want[open[n]].Hex), j.spiIn(rest[n].Hex)
		if recorded == nil || ours == nil || !j.shown[SPIOf(ours)] || times[SPIOf(ours)] > 1 {
			continue
		}
		rest[n].Hex = slices.Clone(rest[n].Hex)
		copy(j.spiIn(rest[n].Hex), recorded)
	}
}

// remember notes which SAs a scenario that hangs on random numbers has shown.
func (j *Judge) remember(ms []Message) {
	if !j.seeded {
		return
	}
	for _, m := range ms {
		if spi := j.spiIn(m.Hex); spi != nil {
			j.shown[SPIOf(spi)] = true
		}
	}
}

// spiIn is where a message has the SPI of its SA; nil: nowhere.
func (j *Judge) spiIn(msg []byte) []byte {
	x, ok := j.Dialect.Find(msg, wire.ExtSA)
	if !ok || len(x.Raw) < 8 {
		return nil
	}
	return msg[x.Offset+4 : x.Offset+8]
}

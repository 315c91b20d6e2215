package conform

import (
	"errors"
	"fmt"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Play plays the actions of a scenario on a target and returns a recording of what it answered; the outcomes in sc are not looked
// at. Only times are marked volatile: what else varies, such as SPIs that were picked, takes several recordings to see.
func Play(t Target, kernel string, sc *Scenario) (*Scenario, error) {
	f, err := familyOf(kernel)
	if err != nil {
		return nil, err
	}
	r := play(t, f, sc)
	if r.err != nil {
		return nil, r.err
	}
	if r.skip != "" {
		return nil, errors.New(r.skip)
	}
	outs := r.outs
	rec := sc.clone()
	rec.Panic = false
	for i := range rec.Steps {
		if i >= len(outs) {
			return nil, fmt.Errorf("step %d: not played", i+1)
		}
		if len(outs[i].trouble) > 0 {
			return nil, fmt.Errorf("step %d: %s", i+1, outs[i].trouble[0])
		}
		rec.Steps[i].Outcome = outs[i]
		for k := range outs[i].Rx {
			outs[i].Rx[k].Vol = times(f.dialect, outs[i].Rx[k].Hex)
		}
	}
	return rec, nil
}

// times finds the times of a message that the wall clock decides.
func times(d *wire.Dialect, msg []byte) (spans []Span) {
	x, ok := d.Find(msg, wire.ExtLifetimeCurrent)
	if !ok {
		return nil
	}
	life, err := d.ParseLifetime(x.Raw)
	if err != nil {
		return nil
	}
	// The layout is the same in all dialects: header, allocations, bytes, addtime, usetime.
	if life.AddTime != 0 {
		spans = append(spans, Span{x.Offset + 16, 8, "addtime"})
	}
	if life.UseTime != 0 {
		spans = append(spans, Span{x.Offset + 24, 8, "usetime"})
	}
	return spans
}

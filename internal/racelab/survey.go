package racelab

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// A Survey is what the exploration of one variant with one ending has found.
type Survey struct {
	Variant   string `json:"variant"`
	Ending    string `json:"ending"`
	Schedules int    `json:"schedules"`
	// How many schedules did wrong to a packet, in all and by what they did; one may have done several.
	Failing  int `json:"failing"`
	Stranded int `json:"stranded"`
	Lost     int `json:"lost"`
	Dead     int `json:"dead"`
	// The names of the shortest schedules that strand, lose, and deliver on a DEAD SA; of those the one with the fewest
	// changes between actors; "" if there is none.
	ShortestStranded string `json:"shortest_stranded"`
	ShortestLost     string `json:"shortest_lost"`
	ShortestDead     string `json:"shortest_dead"`
	// Broken is a schedule after which the books do not add up, which none is under any variant.
	Broken string `json:"broken,omitempty"`
}

// Worst is the shortest schedule of the worst kind there is; "" if no schedule fails.
func (s *Survey) Worst() string {
	for _, name := range []string{s.Broken, s.ShortestStranded, s.ShortestLost, s.ShortestDead} {
		if name != "" {
			return name
		}
	}
	return ""
}

func (s *Survey) add(r *Run) {
	s.Schedules++
	var stranded, lost, dead bool
	for i := range r.Fates {
		f := &r.Fates[i]
		stranded, lost, dead = stranded || f.Stranded, lost || f.Lost, dead || f.Dead
	}
	for _, kind := range []struct {
		is       bool
		n        *int
		shortest *string
	}{{stranded, &s.Stranded, &s.ShortestStranded}, {lost, &s.Lost, &s.ShortestLost},
		{dead, &s.Dead, &s.ShortestDead}} {
		if !kind.is {
			continue
		}
		*kind.n++
		if *kind.shortest == "" || shorter(r.Schedule, *kind.shortest) {
			*kind.shortest = r.Schedule
		}
	}
	if r.Trouble != nil && s.Broken == "" {
		s.Broken = r.Schedule
	}
	if r.Fails() {
		s.Failing++
	}
}

// shorter says whether a is to be told rather than b.
func shorter(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return switches(a) < switches(b)
}

func switches(schedule string) (n int) {
	for i := 1; i < len(schedule); i++ {
		if schedule[i] != schedule[i-1] {
			n++
		}
	}
	return n
}

// Explore plays all schedules of each variant with each ending, on as many cores as there are, and returns what it
// found, in the order of variants and then endings. progress, if not nil, is told now and then how many schedules have
// been played, from several goroutines.
func Explore(ctx context.Context, variants, endings []string, progress func(played int)) ([]Survey, error) {
	return explore(ctx, variants, endings, progress, func(int, *Lab, *Run) {})
}

// explore also calls visit for each run, with the place of its survey: from one goroutine for each place.
func explore(
	ctx context.Context, variants, endings []string, progress func(played int), visit func(int, *Lab, *Run),
) ([]Survey, error) {
	surveys := make([]Survey, 0, len(variants)*len(endings))
	for _, v := range variants {
		for _, e := range endings {
			surveys = append(surveys, Survey{Variant: v, Ending: e})
		}
	}
	var (
		wg     sync.WaitGroup
		played atomic.Int64
		mu     sync.Mutex // guards what follows
		next   int
		failed error
	)
	take := func() (place int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == len(surveys) || failed != nil {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range min(runtime.GOMAXPROCS(0), len(surveys)) {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				s := &surveys[i]
				lab, err := New(s.Variant, s.Ending)
				if err == nil {
					err = lab.Explore(func(r *Run) bool {
						s.add(r)
						visit(i, lab, r)
						const often = 1000
						if s.Schedules%often == 0 && progress != nil {
							progress(int(played.Add(often)))
						}
						return ctx.Err() == nil
					})
				}
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return surveys, failed
}

package feed_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/feed"
)

// offers is a feed of two classes, and what counts how many records were offered to each.
type offers struct {
	*feed.Feed[int]
	offered [2]atomic.Uint64
}

func newFeed() *offers {
	o := &offers{}
	o.Feed = feed.New[int](o.offered[0].Load, o.offered[1].Load)
	return o
}

// put offers a value of a class, and says whether it was taken.
func (o *offers) put(class, v, size int) bool {
	wanted := o.Wants(class)
	o.offered[class].Add(1)
	if wanted {
		o.Put(class, v, size)
	}
	return wanted
}

// drain reads all that is there: values, what was left out of the history as a negative number, and how much of each
// class the reader has missed.
func drain(r *feed.Reader[int]) (got []int, missing [2]uint64) {
	batch := make([]feed.Record[int], 100)
	for {
		n, m := r.Next(batch)
		for i := range m {
			missing[i] += m[i]
		}
		if n == 0 {
			return got, missing
		}
		for _, rec := range batch[:n] {
			if rec.Missing > 0 {
				got = append(got, -int(rec.Missing))
			} else {
				got = append(got, rec.Value)
			}
		}
	}
}

var none [2]uint64

// Readers begin where they want, and each gets everything from there.
func TestRead(t *testing.T) {
	f := newFeed()
	f.Keep()
	for v := range 3 {
		f.put(0, v, 1)
	}
	all, late, second := f.Read(0, 0), f.Read(feed.Now, 0), f.Read(2, 0)
	defer all.Close()
	defer late.Close()
	defer second.Close()
	f.put(0, 3, 1)
	for _, tt := range []struct {
		r    *feed.Reader[int]
		want []int
	}{{all, []int{0, 1, 2, 3}}, {late, []int{3}}, {second, []int{1, 2, 3}}} {
		got, missing := drain(tt.r)
		if diff := cmp.Diff(tt.want, got); diff != "" || missing != none {
			t.Errorf("%v missing (-want +got)\n%s", missing, diff)
		}
	}
}

// A reader of both classes has them in the order of their numbers.
func TestOrder(t *testing.T) {
	f := newFeed()
	r := f.Read(0, 1, 0)
	defer r.Close()
	var want []int
	for v := range 1000 {
		f.put(v*v%7&1, v, 1)
		want = append(want, v)
	}
	if got, missing := drain(r); !slices.Equal(got, want) || missing != none {
		t.Errorf("%v, %v missing", got, missing)
	}
}

// second lets so much time pass that as many records are taken down again as at the beginning.
func second() { time.Sleep(time.Second + time.Millisecond) } // of a bubble

// The history has two bounds. What leaves it unread is counted.
func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		name            string
		size, many, fit int
	}{{"records", 1, 18_000, feed.Records}, {"bytes", feed.Bytes / 10, 95, 10},
		{"one that is too large", feed.Bytes + 1, 3, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFeed()
				slow := f.Read(0, 0)
				defer slow.Close()
				for v := range tt.many {
					if v == feed.Read {
						second()
					}
					f.put(0, v, tt.size)
				}
				got, missing := drain(slow)
				if len(got) != tt.fit || missing != [2]uint64{uint64(tt.many - tt.fit)} || got[0] != tt.many-tt.fit {
					t.Errorf("%d records, the first %d, %d missing; want %d, %d", len(got), got[0], missing, tt.fit,
						tt.many-tt.fit)
				}
			})
		})
	}
}

// A class that has less than half of the history loses nothing to the other one, whichever bound is reached.
func TestShare(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		size, few, many, left int // of the few
	}{{"records, less than half", 1, 4000, 10_000, 4000}, {"records, more", 1, 6000, 10_000, 5000},
		{"bytes, less", feed.Bytes / 100, 40, 200, 40}, {"bytes, more", feed.Bytes / 100, 60, 200, 50}} {
		t.Run(tt.name, func(t *testing.T) {
			for class := range 2 { // the few are of either
				synctest.Test(t, func(t *testing.T) { // all at once
					f := newFeed()
					few, both := f.Read(feed.Now, class), f.Read(feed.Now, 0, 1)
					defer few.Close()
					defer both.Close()
					for v := range tt.few {
						f.put(class, v, tt.size)
					}
					for v := range tt.many {
						f.put(1-class, -1-v, tt.size)
					}
					got, missing := drain(few)
					if len(got) != tt.left || got[0] != tt.few-tt.left || missing[class] != uint64(tt.few-tt.left) ||
						missing[1-class] != 0 {
						t.Errorf("%d are left of %d, from %d, %v missing; want %d", len(got), tt.few, got[0], missing,
							tt.left)
					}
					all, missing := drain(both)
					if n := len(all) + int(missing[0]+missing[1]); n != tt.few+tt.many || missing[1-class] == 0 {
						t.Errorf("%d are there, %v missing, of %d", len(all), missing, tt.few+tt.many)
					}
				})
			}
		})
	}
}

// A reader who comes back is told how many there are no more, of all classes; one who wants all that there is, is not.
func TestComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // all at once
		f := newFeed()
		keep := f.Read(0, 0, 1)
		defer keep.Close()
		for v := range feed.Records {
			f.put(0, v, 1)
		}
		for v := range 100 {
			f.put(1, v, 1)
		}
		for _, tt := range []struct{ from, missing, first uint64 }{{0, 0, 101}, {1, 100, 101}, {51, 50, 101},
			{101, 0, 101}, {5000, 0, 5000}, {10_100, 0, 10_100}} {
			r := f.Read(tt.from, 0, 1)
			batch := make([]feed.Record[int], 1)
			if n, missing := r.Next(batch); n != 1 || missing[0] != tt.missing || missing[1] != 0 ||
				batch[0].N != tt.first {
				t.Errorf("from %d: record %d, %v missing; want %d, %d", tt.from, batch[0].N, missing, tt.first,
					tt.missing)
			}
			r.Close()
		}
	})
}

// While nobody reads, so much is taken down within a second, of each class; the rest is counted.
func TestUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		f.Keep()
		taken := 0
		for v := range 3 * feed.Unread {
			if f.put(1, v, 1) {
				taken++
			}
		}
		if taken != feed.Unread || !f.put(0, -7, 1) {
			t.Errorf("%d are taken, and one of the other class", taken)
		}
		second()
		if !f.put(1, 1, 1) {
			t.Error("nothing is taken in the next second")
		}
		r := f.Read(0, 0, 1)
		defer r.Close()
		got, missing := drain(r)
		want := []int{-7, -2 * feed.Unread, 1}
		if diff := cmp.Diff(want, got[feed.Unread:]); diff != "" || missing != none {
			t.Errorf("behind the flood, %v missing (-want +got)\n%s", missing, diff)
		}
		for v := range feed.Read {
			if !f.put(1, v, 1) {
				t.Fatal("a reader is there, and something is left out")
			}
		}
	})
}

// flood offers so many records a second, for so many seconds, and returns how many of them were taken in the last one.
func (o *offers) flood(class, rate, seconds int) (taken int) {
	for s := range seconds {
		for ms := range 1000 {
			for n := range rate / 1000 {
				if o.put(class, n, 1) && s == seconds-1 {
					taken++
				}
			}
			if rate < 1000 && ms%(1000/rate) == 0 && o.put(class, ms, 1) && s == seconds-1 {
				taken++
			}
			time.Sleep(time.Millisecond) // of a bubble
		}
	}
	return taken
}

// A reader gets all for as long as not too much comes, then a sample, and all again when less comes; and it is told how
// much there was in any case.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		f.Keep()
		r := f.Read(0, 0, 1)
		defer r.Close()
		var total uint64
		read := func() {
			batch := make([]feed.Record[int], 256)
			for n, missing := r.Next(batch); n > 0; n, missing = r.Next(batch) {
				total += missing[0] + missing[1]
				for _, rec := range batch[:n] {
					total += max(rec.Missing, 1)
					if rec.Missing > 0 && (!rec.Read || rec.Class != 1) {
						t.Errorf("%+v", rec)
					}
				}
			}
		}
		stop := make(chan struct{})
		var reading sync.WaitGroup
		reading.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond): // of the bubble
					read()
				}
			}
		})
		var offered uint64
		for _, tt := range []struct{ rate, low, high int }{{500, 500, 500}, {9000, 9000, 9000},
			{50_000, feed.Unread * 9 / 10, feed.Unread * 11 / 10}, {9000, 9000, 9000}} {
			if n := f.flood(1, tt.rate, 3); n < tt.low || n > tt.high {
				t.Errorf("of %d a second %d are taken, want %d to %d", tt.rate, n, tt.low, tt.high)
			}
			offered += 3 * uint64(tt.rate)
		}
		second()
		close(stop)
		reading.Wait()
		read()
		if total != offered {
			t.Errorf("the reader knows of %d, want %d", total, offered)
		}
	})
}

// A reader that does not read costs no more than none.
func TestStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		f.Keep()
		r := f.Read(0, 0, 1)
		defer r.Close()
		if n := f.flood(1, 9000, 3); n > feed.Unread {
			t.Errorf("%d are taken in a second while nobody reads", n)
		}
		drain(r)
		time.Sleep(100 * time.Millisecond) // of the bubble
		if n := f.flood(1, 9000, 1); n < 8000 {
			t.Errorf("%d are taken in a second while somebody reads again", n)
		}
	})
}

// A history that is not kept begins with a reader.
func TestNotKept(t *testing.T) {
	f := newFeed()
	if f.put(0, 1, 1) {
		t.Error("taken before there is a reader")
	}
	r := f.Read(0, 0)
	f.put(0, 2, 1)
	got, missing := drain(r)
	if diff := cmp.Diff([]int{2}, got); diff != "" || missing != none {
		t.Errorf("%v missing (-want +got)\n%s", missing, diff)
	}
	r.Close()
	if f.put(0, 3, 1) {
		t.Error("taken behind the last reader")
	}
}

// A reader that waits is woken by a record, by its end and by that of its context.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		f.Keep()
		r := f.Read(feed.Now, 0)
		for _, tt := range []struct {
			name string
			do   func(cancel func())
			want bool
		}{
			{"record", func(func()) { f.put(0, 1, 1) }, true},
			{"context", func(cancel func()) { cancel() }, false},
			{"another record", func(func()) { f.put(0, 2, 1) }, true},
			{"end", func(func()) { r.Close() }, false},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			var woken bool
			var wg sync.WaitGroup
			wg.Go(func() { woken = r.Wait(ctx) })
			synctest.Wait()
			tt.do(cancel)
			wg.Wait()
			cancel()
			if woken != tt.want {
				t.Errorf("%s: %v", tt.name, woken)
			}
			drain(r)
		}
	})
}

// Many write, many read, some come and go; every reader gets its records in order, and knows what it has not got.
func TestConcurrent(t *testing.T) {
	const writers, each = 4, 5_000
	f := newFeed()
	f.Keep()
	keep := f.Read(0, 0, 1)
	defer keep.Close()
	var writing, reading sync.WaitGroup
	for range 3 {
		r := f.Read(0, 0, 1)
		reading.Go(func() {
			defer r.Close()
			var last, seen uint64
			batch := make([]feed.Record[int], 64)
			for seen < writers*each {
				n, missing := r.Next(batch)
				seen += missing[0] + missing[1]
				for _, rec := range batch[:n] {
					seen += max(rec.Missing, 1)
					if rec.N <= last {
						t.Errorf("record %d behind %d", rec.N, last)
					}
					last = rec.N
				}
				if n == 0 {
					r.Wait(t.Context())
				}
			}
			if seen != writers*each {
				t.Errorf("%d are there or missing, of %d", seen, writers*each)
			}
		})
	}
	for w := range writers {
		writing.Go(func() {
			for v := range each {
				f.put(w%2, v, 100)
				if v%1000 == 0 {
					f.Read(feed.Now, 0).Close()
				}
			}
		})
	}
	writing.Wait()
	reading.Wait()
}

// When nothing is wanted, the question allocates nothing.
func TestWantsAllocatesNothing(t *testing.T) {
	f := newFeed()
	if n := testing.AllocsPerRun(100, func() { f.Wants(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkWants(b *testing.B) {
	f := newFeed()
	f.Keep()
	for b.Loop() {
		f.Wants(1)
	}
}

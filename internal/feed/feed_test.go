package feed_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/feed"
)

// put offers a value of a class, and says whether it was taken.
func put(f *feed.Feed[int], class, v, size int) bool {
	if !f.Wants(class, v) {
		return false
	}
	f.Put(v, size)
	return true
}

// drain reads all that is there: values, what was left out of the history as a negative number, and how much the
// reader has missed.
func drain(r *feed.Reader[int]) (got []int, missing uint64) {
	batch := make([]feed.Record[int], 100)
	for {
		n, m := r.Next(batch)
		missing += m
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

// Readers begin where they want, and each gets everything from there.
func TestRead(t *testing.T) {
	f := feed.New[int]()
	f.Keep()
	for v := range 3 {
		put(f, 0, v, 1)
	}
	all, late, second := f.Read(0, 0), f.Read(feed.Now, 0), f.Read(2, 0)
	defer all.Close()
	defer late.Close()
	defer second.Close()
	put(f, 0, 3, 1)
	for _, tt := range []struct {
		r    *feed.Reader[int]
		want []int
	}{{all, []int{0, 1, 2, 3}}, {late, []int{3}}, {second, []int{1, 2, 3}}} {
		got, missing := drain(tt.r)
		if diff := cmp.Diff(tt.want, got); diff != "" || missing != 0 {
			t.Errorf("%d missing (-want +got)\n%s", missing, diff)
		}
	}
}

// The history has two bounds. What leaves it unread is counted.
func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		name            string
		size, many, fit int
	}{{"records", 1, 25_000, feed.Records}, {"bytes", feed.Bytes / 10, 95, 10}} {
		t.Run(tt.name, func(t *testing.T) {
			f := feed.New[int]()
			f.Keep()
			slow := f.Read(0, 0)
			defer slow.Close()
			for v := range tt.many {
				put(f, 0, v, tt.size)
			}
			got, missing := drain(slow)
			if len(got) != tt.fit || missing != uint64(tt.many-tt.fit) || got[0] != tt.many-tt.fit {
				t.Errorf("%d records, the first %d, %d missing; want %d, %d", len(got), got[0], missing, tt.fit,
					tt.many-tt.fit)
			}
		})
	}
}

// While nobody reads, so much is taken down within a second, of each class; the rest is counted.
func TestUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feed.New[int]()
		f.Keep()
		taken := 0
		for v := range 3 * feed.Unread {
			if put(f, 1, v, 1) {
				taken++
			}
		}
		if taken != feed.Unread || !put(f, 0, -7, 1) {
			t.Errorf("%d are taken, and one of the other class", taken)
		}
		time.Sleep(time.Second + time.Millisecond) // of the bubble
		if !put(f, 1, 1, 1) {
			t.Error("nothing is taken in the next second")
		}
		r := f.Read(0, 0, 1)
		got, missing := drain(r)
		want := []int{-7, -2 * feed.Unread, 1}
		if diff := cmp.Diff(want, got[feed.Unread:]); diff != "" || missing != 0 {
			t.Errorf("behind the flood, %d missing (-want +got)\n%s", missing, diff)
		}
		for v := range 2 * feed.Unread {
			if !put(f, 1, v, 1) {
				t.Fatal("a reader is there, and something is left out")
			}
		}
		r.Close()
		time.Sleep(time.Second + time.Millisecond) // likewise
	})
}

// A history that is not kept begins with a reader.
func TestNotKept(t *testing.T) {
	f := feed.New[int]()
	if put(f, 0, 1, 1) {
		t.Error("taken before there is a reader")
	}
	r := f.Read(0, 0)
	put(f, 0, 2, 1)
	got, missing := drain(r)
	if diff := cmp.Diff([]int{2}, got); diff != "" || missing != 0 {
		t.Errorf("%d missing (-want +got)\n%s", missing, diff)
	}
	r.Close()
	if put(f, 0, 3, 1) {
		t.Error("taken behind the last reader")
	}
}

// A reader that waits is woken by a record, by its end and by that of its context.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feed.New[int]()
		f.Keep()
		r := f.Read(feed.Now, 0)
		for _, tt := range []struct {
			name string
			do   func(cancel func())
			want bool
		}{
			{"record", func(func()) { put(f, 0, 1, 1) }, true},
			{"context", func(cancel func()) { cancel() }, false},
			{"another record", func(func()) { put(f, 0, 2, 1) }, true},
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
	f := feed.New[int]()
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
				seen += uint64(n) + missing
				for _, rec := range batch[:n] {
					if rec.N <= last {
						t.Errorf("record %d behind %d", rec.N, last)
					}
					last = rec.N
				}
				if n == 0 {
					r.Wait(t.Context())
				}
			}
			if last != writers*each {
				t.Errorf("the last record is %d", last)
			}
		})
	}
	for w := range writers {
		writing.Go(func() {
			for v := range each {
				put(f, w%2, v, 100)
				if v%1000 == 0 {
					f.Read(feed.Now, 0).Close()
				}
			}
		})
	}
	writing.Wait()
	reading.Wait()
}

// What costs a feed without readers: nothing is allocated.
func TestWantsAllocatesNothing(t *testing.T) {
	f := feed.New[int]()
	f.Keep()
	for v := range feed.Unread {
		put(f, 1, v, 1)
	}
	if n := testing.AllocsPerRun(100, func() { f.Wants(1, 3) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkWants(b *testing.B) {
	f := feed.New[int]()
	f.Keep()
	for b.Loop() {
		f.Wants(1, 3)
	}
}

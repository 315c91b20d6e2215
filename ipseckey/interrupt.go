package ipseckey

import (
	"context"
	"sync"
)

// interrupts hands the interrupts of a run to whoever waits for one.
type interrupts struct {
	cancel context.CancelFunc
	done   chan struct{}
	wg     sync.WaitGroup

	mu      sync.Mutex
	monitor context.CancelFunc // ends the monitor that runs, or nil
	ignored bool               // at the prompt
	ended   bool               // an interrupt ended the run
}

// watchInterrupts returns a context that ends when an interrupt ends the run.
func watchInterrupts(ctx context.Context, c <-chan struct{}) (context.Context, *interrupts) {
	ctx, cancel := context.WithCancel(ctx)
	i := &interrupts{cancel: cancel, done: make(chan struct{})}
	if c != nil {
		i.wg.Go(func() { i.watch(c) }) // until stop
	}
	return ctx, i
}

func (i *interrupts) watch(c <-chan struct{}) {
	for {
		select {
		case <-i.done:
			return
		case _, ok := <-c:
			if !ok {
				return
			}
		}
		i.mu.Lock()
		switch {
		case i.monitor != nil:
			i.monitor()
		case !i.ignored:
			i.ended = true
			i.cancel()
		}
		i.mu.Unlock()
	}
}

func (i *interrupts) stop() {
	close(i.done)
	i.wg.Wait()
	i.cancel()
}

// ignore makes interrupts harmless, as they are at the prompt.
func (i *interrupts) ignore() {
	i.mu.Lock()
	i.ignored = true
	i.mu.Unlock()
}

// monitoring returns a context that the next interrupt ends, instead of what it would do otherwise, and what ends that.
func (i *interrupts) monitoring(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	i.mu.Lock()
	i.monitor = cancel
	i.mu.Unlock()
	return ctx, func() {
		i.mu.Lock()
		i.monitor = nil
		i.mu.Unlock()
		cancel()
	}
}

package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// A cache keeps answers that take long to find for a short while. Who asks for one that is being
// found waits for it. The zero one is empty; a copy must not be made.
type cache[T any] struct {
	mu   sync.Mutex
	list map[string]*cached[T]
}

type cached[T any] struct {
	at    time.Time
	done  chan struct{}
	value T
	err   error
}

const (
	maxCached = 64
	findTime  = time.Minute // for finding one, whoever still waits
)

// get gives an answer that is no older than life.
func (c *cache[T]) get(ctx context.Context, key string, life time.Duration, find func(context.Context) (T, error)) (T, error) {
	c.mu.Lock()
	x := c.list[key]
	if x == nil || x.ended() && (x.err != nil || time.Since(x.at) > life) {
		if len(c.list) >= maxCached || c.list == nil {
			c.list = map[string]*cached[T]{}
		}
		x = &cached[T]{done: make(chan struct{})}
		c.list[key] = x
		in, cancel := context.WithTimeout(context.WithoutCancel(ctx), findTime)
		go func() {
			defer cancel()
			defer close(x.done)
			defer func() { // mail goes on, whatever happens here
				if v := recover(); v != nil {
					x.err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
				}
			}()
			x.value, x.err = find(in)
			x.at = time.Now()
		}()
	}
	c.mu.Unlock()
	select {
	case <-x.done:
		return x.value, x.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

func (x *cached[T]) ended() bool {
	select {
	case <-x.done:
		return true
	default:
		return false
	}
}

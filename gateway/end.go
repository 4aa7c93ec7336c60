package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"

	"postern/filters"
	"postern/mail"
)

// How a transaction ends, by itself or by what happens to it.

// enter begins a command; false when the transaction is over. leave ends it.
func (t *transaction) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.gone != nil {
		return false
	}
	t.busy = true
	return true
}

func (t *transaction) leave() {
	t.mu.Lock()
	t.busy = false
	gone := t.gone
	t.mu.Unlock()
	if gone != nil {
		t.abandon(gone)
	}
}

// abandon ends a transaction that came to no end of its own: RSET, QUIT, EHLO, a cut line. It
// may be called at any time, from any goroutine, and again; while data is at work, that ends it.
func (t *transaction) abandon(cause error) {
	t.mu.Lock()
	if t.over {
		t.mu.Unlock()
		return
	}
	cause = cmp.Or(cause, errOver)
	mine := !t.busy
	t.gone, t.busy = cause, true
	t.mu.Unlock()
	t.cancel(cause)
	if mine {
		t.result = abandoned
		t.note("abandoned", cause.Error())
		t.finish(t.told())
	}
}

// cancel ends what is done for the transaction.
func (t *transaction) cancel(cause error) {
	t.work.cut(cause)
	t.ctx.cut(cause)
}

// told is what the client was last told of a transaction that never came to its data: a
// refusal, when there was nothing else.
func (t *transaction) told() (last *mail.Reply) {
	for _, r := range t.rcpts {
		if r.refused == nil {
			return nil
		}
		last = r.refused
	}
	return last
}

// finish frees what the transaction holds and writes its journal entry, once.
func (t *transaction) finish(reply *mail.Reply) {
	t.mu.Lock()
	if t.over {
		t.mu.Unlock()
		return
	}
	t.over, t.busy = true, false
	t.mu.Unlock()
	t.c.forget(t)
	t.cancel(errOver)
	if t.body != nil {
		t.body.Finish(errOver) // a panic may have ended its upload: nobody waits for the rest
	}
	for _, way := range t.routes {
		if way.delivery != nil {
			if err := way.delivery.Close(); err != nil {
				t.note("internal server: close", err.Error())
			}
		}
	}
	scopes := []*filters.Scope{t.scope}
	for _, r := range t.rcpts {
		if r.scope != t.scope {
			scopes = append(scopes, r.scope)
		}
	}
	t.g.join(scopes...)
	t.record(reply)
	if t.crashed && t.body != nil && reply != nil && reply.Temporary() && t.result != abandoned {
		t.poisonous()
	}
	t.notify()
	if t.body != nil {
		t.body.Close()
	}
}

// neighbour makes a reply of the internal server's refusal, or other of its failure.
func (t *transaction) neighbour(what string, err error, other *mail.Reply) *mail.Reply {
	t.note(what, err.Error())
	if r := (*mail.Reply)(nil); errors.As(err, &r) {
		return safeReply(err)
	}
	t.g.log.Warn(what, "id", t.env.ID, "error", err)
	return other
}

// failed is a fault of ours: logged with its cause, answered without.
func (t *transaction) failed(what string, err error) *mail.Reply {
	t.note(what, err.Error())
	t.g.log.Error(what, "id", t.env.ID, "error", err)
	return replyLater
}

// panicked turns a panic into an answer: what the internal server has taken stays taken.
func (t *transaction) panicked(v any) *mail.Reply {
	t.crashed = true
	t.note("panic", fmt.Sprint(v))
	t.g.log.Error("panic", "id", t.env.ID, "value", fmt.Sprint(v), "stack", string(debug.Stack()))
	if t.taken != nil {
		return t.taken
	}
	return replyLater
}

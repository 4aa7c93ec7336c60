package gateway

import (
	"errors"
	"io"

	"postern/mail"
)

// receive spools the upload. What cannot be kept is read to its end all the same, so that the
// client gets its answer. The filters, when they are to judge it, work meanwhile; a message that
// is there in one piece they get whole, since to begin with a part of it costs more.
func (t *transaction) receive(u upload, judged bool) *mail.Reply {
	t.content.SetSeed(t.g.seed)
	var full error
	for {
		if judged && t.body.Size() > 0 && u.Waits() {
			t.scope.Start(&t.work, t.plan.eager[mail.Data], t.input(nil))
			judged = false
		}
		p, err := u.Next()
		if err == io.EOF {
			break
		}
		if err == nil && t.ctx.Err() != nil {
			err = t.ctx.why()
		}
		if err != nil {
			t.body.Finish(err)
			if errors.Is(err, errTooBig) {
				return replyTooBig
			}
			return t.lost(err)
		}
		if full != nil {
			continue
		}
		t.content.Write(p)
		if t.g.recall != nil {
			t.lasting = summed(t.lasting, p)
		}
		if _, full = t.body.Write(p); full != nil {
			t.body.Finish(full)
		}
	}
	if full != nil {
		t.failed("spool the message", full)
		return replyFull
	}
	t.body.Finish(nil)
	if judged {
		t.scope.Start(&t.work, t.plan.eager[mail.Data], t.input(nil))
	}
	t.note("received", "")
	return nil
}

// lost is the end of an upload, or of a client, that went away.
func (t *transaction) lost(cause error) *mail.Reply {
	t.result = abandoned
	t.unheard = errors.Is(cause, errUploadBroken) // the connection is dead, or the next command has a reply of its own
	t.note("abandoned", cause.Error())
	return replyBroken
}

// inspect refuses what can be relayed in no case.
func (t *transaction) inspect(u upload) *mail.Reply {
	h, err := t.body.Header()
	if err != nil {
		return t.failed("read the header", err)
	}
	t.header = h
	cr, lf, nul := u.Flaws()
	switch {
	case cr, lf && t.g.cfg.BareNewline != "normalize":
		return replyBareNewline
	case nul && !t.g.cfg.AllowNUL:
		return replyNUL
	}
	if looping(h, t.g.cfg.Hostname, t.g.cfg.Limits.Hops) {
		t.g.log.Warn("a mail loop was ended: does the internal server, or who forwards for it, send mail back here?", "id", t.env.ID, "client", t.env.Client.Addr)
		return replyLoop
	}
	return nil
}

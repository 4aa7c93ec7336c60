package web

import (
	"context"
	"errors"
	"net/http"

	"postern/digest"
	"postern/people"
	"postern/review"
)

// Digests says how often people are written to about mail that is held for them; digest.Digests
// is one. What changes something is noted in the log of acts.
type Digests interface {
	Wish(ctx context.Context, whose *people.Actor) (chosen, holds digest.Every, err error)
	SetWish(ctx context.Context, who, whose *people.Actor, e digest.Every) error
}

// DigestWish is how often one gets a digest.
type DigestWish struct {
	Interval string `json:"interval"`         // off instant hourly daily weekly
	Chosen   bool   `json:"chosen,omitempty"` // by oneself; else it is as the site has it
}

// NewDigestWish is what one wants instead.
type NewDigestWish struct {
	Interval string `json:"interval"` // off instant hourly daily weekly, or "": as the site has it
}

// digestCalls are about the mails that one gets oneself.
func digestCalls() []endpoint {
	shown := func(c *call) (any, error) {
		chosen, holds, err := c.server.wish(c.ctx, c.who)
		return DigestWish{Interval: string(holds), Chosen: chosen != digest.As}, err
	}
	return []endpoint{{
		method: "GET", path: "/me/digest", name: "digest", does: "How often one is written to about held mail.", open: true, answer: typeOf[DigestWish](), call: shown,
	}, {
		method: "PUT", path: "/me/digest", name: "setDigest", does: "Changes that.", open: true, body: typeOf[NewDigestWish](), answer: typeOf[DigestWish](),
		call: func(c *call) (any, error) {
			if err := c.server.setWish(c.ctx, c.who, c.body.(*NewDigestWish).Interval); err != nil {
				return nil, err
			}
			return shown(c)
		},
	}}
}

// wish tells how often somebody gets a digest; who can get none gets the same answer as for what
// is not there.
func (s *Server) wish(ctx context.Context, who *people.Actor) (chosen, holds digest.Every, err error) {
	if s.cfg.Digests == nil {
		return digest.As, digest.Off, review.ErrNotFound
	}
	chosen, holds, err = s.cfg.Digests.Wish(ctx, who)
	if errors.Is(err, digest.ErrNoAddress) {
		err = review.ErrNotFound
	}
	return chosen, holds, err
}

func (s *Server) setWish(ctx context.Context, who *people.Actor, every string) error {
	if s.cfg.Digests == nil {
		return review.ErrNotFound
	}
	err := s.cfg.Digests.SetWish(ctx, who, who, digest.Every(every))
	switch {
	case errors.Is(err, digest.ErrInterval):
		return badCall("interval: %q is none: %v", clip(every), err)
	case errors.Is(err, digest.ErrNoAddress):
		return review.ErrNotFound
	}
	return err
}

// ownDigest is how often the own account gets a digest, as its page shows it.
type ownDigest struct {
	Chosen digest.Every
	Holds  digest.Every
	All    []digest.Every
}

// showDigest fills in that part of the page; nil when the person can get none.
func (s *Server) showDigest(ctx context.Context, who *people.Actor) (*ownDigest, error) {
	chosen, holds, err := s.wish(ctx, who)
	if errors.Is(err, review.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &ownDigest{chosen, holds, digest.Intervals()}, nil
}

// setDigest takes the form.
func (s *Server) setDigest(w http.ResponseWriter, r *http.Request) {
	err := s.setWish(r.Context(), actor(r), r.PostFormValue("interval"))
	var bad *callError
	switch {
	case errors.As(err, &bad):
		s.accountTrouble(w, r, &people.InvalidError{Why: "That is no interval."})
	case errors.Is(err, review.ErrNotFound):
		s.accountTrouble(w, r, &people.InvalidError{Why: "You have no address that a digest could go to."})
	case err != nil:
		s.failed(w, r, err)
	default:
		http.Redirect(w, r, "/account?done=digest", http.StatusSeeOther)
	}
}

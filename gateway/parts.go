package gateway

import (
	"context"
	"slices"
	"strings"

	"postern/filters"
	"postern/mail"
	"postern/rules"
)

// A partPlan is what the effects of a verdict do to the parts of a message: some parts are cut out
// or changed, everything else stays byte for byte. Nothing is parsed and written again as a whole.
type partPlan struct {
	effects  []rules.Effect
	add      []byte   // fields for the message's own header
	remove   []string // fields that they stand for
	cuts     []cut
	removals []removal         // each makes one cut more, when the id of the kept original is known
	hold     string            // why the message is held instead of delivered; "" when it is not
	removed  string            // names of the files that are taken out
	rule     string            // whose effect holds it, or takes out the first of them
	notes    map[string]string // by effect: what was done, or why it was not
}

// edited reports whether a plan is needed for these effects.
func edited(list []rules.Effect) bool {
	return slices.ContainsFunc(list, func(x rules.Effect) bool {
		return x.Name == stripEffect || x.Name == bannerEffect || x.Name == disclaimerEffect
	})
}

// planParts makes the plan for some effects, once for all recipients who have the same.
func (t *transaction) planParts(ctx context.Context, list []rules.Effect) (*partPlan, error) {
	if p := t.planned(list); p != nil {
		return p, nil
	}
	if t.outline == nil {
		var err error
		if t.outline, err = filters.ReadOutline(ctx, t.body); err != nil {
			return nil, err
		}
	}
	p := &partPlan{effects: list, notes: map[string]string{}}
	ed := partEditor{partPlan: p, o: t.outline, body: t.body, header: t.header, host: t.g.cfg.Hostname, gone: make([]bool, len(t.outline.Sections)), texted: &t.texted}
	for i := range list {
		if list[i].Name == stripEffect {
			ed.strip(&list[i])
		}
	}
	if p.hold == "" {
		if err := ed.insertTexts(list); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(p.cuts, func(a, b cut) int { return int(a.from - b.from) })
	t.plans = append(t.plans, p)
	return p, nil
}

// planned finds the plan that was made for these effects; nil when they need none.
func (t *transaction) planned(list []rules.Effect) *partPlan {
	for _, p := range t.plans {
		if sameEffects(p.effects, list) {
			return p
		}
	}
	return nil
}

// apply adds the plan to the edits of the header, and gives the cuts in their order. id is that of
// the original in quarantine.
func (p *partPlan) apply(e *edits, id string) []cut {
	e.add = append(e.add, p.add...)
	e.remove = append(e.remove, p.remove...)
	cuts := slices.Clone(p.cuts)
	for i := range p.removals {
		cuts = append(cuts, p.removals[i].cut(id))
	}
	slices.SortFunc(cuts, func(a, b cut) int { return int(a.from - b.from) })
	return cuts
}

// A partEditor works out a plan.
type partEditor struct {
	*partPlan
	o      *filters.Outline
	body   *mail.Body
	header *mail.Header
	host   string
	gone   []bool // by section: it is cut out
	texted *int64 // bytes of texts that were read for all plans of the message
}

// inside reports whether section i lies in one of which ok is true, or is one.
func (ed *partEditor) inside(i int, ok func(i int) bool) bool {
	for ; i >= 0; i = ed.o.Sections[i].Parent {
		if ok(i) {
			return true
		}
	}
	return false
}

func (ed *partEditor) typed(types ...string) func(i int) bool {
	return func(i int) bool { return slices.Contains(types, ed.o.Sections[i].Type) }
}

// signed reports whether a change of section i breaks a signature of the sender.
func (ed *partEditor) signed(i int) bool {
	return ed.inside(i, ed.typed("multipart/signed"))
}

// rootContent says which of the message's own fields tell how to read it, and adds others for them.
func (ed *partEditor) rootContent(names func(name string) bool, fields string) {
	for i := range ed.header.Fields {
		if name := bareName(&ed.header.Fields[i]); names(strings.ToLower(name)) {
			ed.remove = append(ed.remove, name)
		}
	}
	if ed.header.Get("MIME-Version") == nil {
		fields = "MIME-Version: 1.0\r\n" + fields
	}
	ed.add = append(ed.add, fields...)
}

func isContentField(name string) bool { return strings.HasPrefix(name, "content-") }

// dkimNote is said of a changed message: who checks behind us finds the signature broken.
func (ed *partEditor) dkimNote() string {
	if ed.header.Get("DKIM-Signature") == nil {
		return ""
	}
	return "; the sender's DKIM signature does not fit any more"
}

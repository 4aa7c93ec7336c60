package web

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"postern/people"
	"postern/review"
)

// An overview is what the page of numbers shows.
type overview struct {
	*review.Overview
	Days   int
	Spans  []viewLink
	Charts []chart
	Good   []review.RuleUse // rules that held something
	Never  []review.RuleUse
	Shadow []review.RuleUse
	Sick   int // neighbours that do not answer
}

// A chart is the bars of one kind of outcome, ready to be drawn.
type chart struct {
	Name, Tone string
	Total, Max int
	Bars       []bar
	Peak       string // when the most were
}

// A bar is one slot of a chart, in the units of its picture.
type bar struct {
	X, Y, W, H string
	At         time.Time
	N          int
}

// The size of a chart's picture.
const chartWidth, chartHeight = 600.0, 64.0

func (s *Server) overviewPage(w http.ResponseWriter, r *http.Request) {
	if !actor(r).May(people.ReadOverview) {
		s.forbid(w, r, "overview", "")
		return
	}
	days, err := strconv.Atoi(r.URL.Query().Get("days"))
	if err != nil || days < 1 || days > 90 {
		days = 30
	}
	o, err := s.cfg.Desk.Overview(r.Context(), actor(r), days)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	v := overview{Overview: o, Days: days}
	for _, d := range []int{1, 7, 30, 90} {
		v.Spans = append(v.Spans, viewLink{Label: many(d, "day"), Link: fmt.Sprintf("/overview?days=%d", d), On: d == days})
	}
	for _, c := range []struct {
		name, tone string
		of         func(review.Slot) int
	}{{"Delivered", "good", func(x review.Slot) int { return x.Delivered }}, {"Held", "warn", func(x review.Slot) int { return x.Held }},
		{"Refused", "bad", func(x review.Slot) int { return x.Refused }}, {"Deferred", "soft", func(x review.Slot) int { return x.Deferred }}} {
		v.Charts = append(v.Charts, drawn(c.name, c.tone, o, c.of))
	}
	for _, u := range o.Rules {
		switch {
		case u.Shadow:
			v.Shadow = append(v.Shadow, u)
		case u.Never:
			v.Never = append(v.Never, u)
		case u.Held > 0:
			v.Good = append(v.Good, u)
		}
	}
	for _, n := range o.Health {
		if !n.OK {
			v.Sick++
		}
	}
	s.show(w, r, http.StatusOK, "overview", screen{Title: "Overview", Area: "overview", Data: v})
}

// drawn makes the bars of one kind.
func drawn(name, tone string, o *review.Overview, of func(review.Slot) int) chart {
	c := chart{Name: name, Tone: tone}
	layout := "2 January"
	if o.Step == "hour" {
		layout = "2 January, 15:04"
	}
	for _, x := range o.Slots {
		n := of(x)
		if c.Total += n; n > c.Max {
			c.Max, c.Peak = n, x.At.Format(layout)
		}
	}
	step := chartWidth / float64(max(1, len(o.Slots)))
	for i, x := range o.Slots {
		n, h := of(x), 0.0
		if c.Max > 0 {
			h = float64(n) / float64(c.Max) * chartHeight
		}
		if n > 0 {
			h = max(h, 1.5) // what there is can be seen
		}
		c.Bars = append(c.Bars, bar{units(float64(i)*step + step*.12), units(chartHeight - h), units(step * .76), units(h), x.At, n})
	}
	return c
}

func units(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

// Share is how much of what a rule held people released, in hundredths; -1 when it held nothing.
func share(u review.RuleUse) int {
	if u.Held == 0 {
		return -1
	}
	return (u.Released*100 + u.Held/2) / u.Held
}

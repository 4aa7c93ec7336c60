package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/audit"
	"postern/journal"
	"postern/lists"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/review"
)

// A fakeDesk has sample mail for tests of the pages: what the real one does is tested there.
type fakeDesk struct {
	Desk      // what no page asks for
	mu        sync.Mutex
	now       time.Time
	rows      []review.Row
	raw       map[string]string
	views     []review.View
	done      []review.Act // acts, as they were asked for
	undone    []string
	fail      error // every call fails so
	arrived   chan review.Row
	drafts    []review.Draft
	uncounted bool     // there are more than can be counted
	refused   []string // acts and objects that were refused before the Desk was asked
	reads     []string // id and why of each reading of content
}

func sampleTime() time.Time { return time.Date(2026, 11, 22, 18, 14, 0, 0, time.UTC) }

func sampleID(n int) string { return fmt.Sprintf("01KAQX7M2N0000000000000%03d", n) }

func addr(text string) mail.Address {
	local, domain, _ := strings.Cut(text, "@")
	return mail.Address{Local: local, Domain: domain}
}

// A sample is one message in short.
type sample struct {
	ago                                  time.Duration
	name, from, sender, subject          string
	to                                   []string
	class, rule, because, auth, attached string
	change                               func(*review.Row)
}

func samples() []sample {
	seen := func(by string) func(*review.Row) {
		return func(r *review.Row) { r.Seen = &review.Mark{By: by, At: sampleTime().Add(-time.Hour)} }
	}
	return []sample{
		{7 * time.Minute, "Sparkasse Service", "service@sparkasse.example", "x91@mailer77.example", "Ihr Konto wird eingeschränkt – bitte bestätigen", []string{"ana@example.org", "ben@example.org", "finance@example.org"},
			"spoof", "brand-lookalike", "It says it is from sparkasse.example, but DMARC failed and the link leads to sparkasse-login.top", "fail none fail", "", nil},
		{23 * time.Minute, "Eve Bergström", "eve@friend.example", "eve@friend.example", "Re: Figures for the board meeting", []string{"ana@example.org"},
			"attachment", "macro-documents", "The attachment figures.xlsm has macros, and eve@friend.example never sent such a file before", "pass pass pass", "application/vnd.ms-excel.sheet.macroEnabled.12 application/pdf", func(r *review.Row) {
				r.Asked = &review.Request{By: "Ana Ortiz", At: sampleTime().Add(-10 * time.Minute), For: "ana@example.org", Comment: "I wait for this file, the meeting is at four.", State: "asked"}
			}},
		{41 * time.Minute, "DHL Paket", "noreply@dhl.example", "bounce-2231@cheap-send.example", "Your parcel is waiting: pay 1.99 € customs fee", []string{"ben@example.org"},
			"spam", "spam-score", "Spam score 11.4: link host registered 2 days ago, sender not proven, text like 37 other held mails", "none none fail", "", nil},
		{2 * time.Hour, "Invoice Dept.", "billing@partner-logistics.example", "billing@partner-logistics.example", "Overdue invoice 2026-1107", []string{"finance@example.org"},
			"virus", "clamav", "ClamAV found Win.Downloader.Agent-7741 in invoice-1107.zip", "pass none none", "application/zip", seen("Ana")},
		{3 * time.Hour, "", "mailer-daemon@bounce.example", "", "Undelivered Mail Returned to Sender", []string{"ana@example.org"},
			"malformed", "malformed", "Two From fields: mail programs disagree about who sent it", "none none none", "message/rfc822", nil},
		{5 * time.Hour, "נועה לוי", "noa@news.example.il", "noa@news.example.il", "הזמנה לכנס אבטחת מידע 2026", []string{"ben@example.org"},
			"policy", "foreign-newsletters", "Newsletters without a List-Id are looked at by somebody first", "pass pass pass", "", seen("Ben")},
		{9 * time.Hour, "Robert Müller (CEO)", "robert.mueller.ceo@freemail.example", "robert.mueller.ceo@freemail.example", "Are you at your desk? Quick task", []string{"finance@example.org"},
			"spoof", "boss-name", "The name is that of Robert Müller of example.org, but the address is at freemail.example", "pass pass pass", "", func(r *review.Row) { r.Assigned = "Ben" }},
		{26 * time.Hour, "Chess Club", "news@club.example", "news@club.example", "Next tournament starts on Sunday", []string{"ana@example.org", "ben@example.org"},
			"spam", "spam-score", "Spam score 6.2: three words of a list, no DKIM signature", "pass none none", "text/calendar", seen("Ana")},
		{27 * time.Hour, "LinkedIn", "messages@linkedln.example", "messages@linkedln.example", "You appeared in 9 searches this week", []string{"ana@example.org"},
			"spam", "spam-score", "Spam score 8.9: the domain linkedln.example looks like linkedin.example", "pass pass none", "", nil},
		{3 * 24 * time.Hour, "Photo Booth", "scan@copier.example.org", "scan@copier.example.org", "Scan from MFP-3 (12 pages)", []string{"ben@example.org"},
			"attachment", "archives", "scan.7z cannot be opened: it is encrypted", "none none none", "application/x-7z-compressed", func(r *review.Row) { r.Expires = sampleTime().Add(20 * time.Hour) }},
		{4 * 24 * time.Hour, "Eve Bergström", "eve@friend.example", "eve@friend.example", "Contract, second draft", []string{"ana@example.org"},
			"attachment", "macro-documents", "The attachment contract.docm has macros", "pass pass pass", "application/vnd.ms-word.document.macroEnabled.12", func(r *review.Row) {
				r.State = quarantine.Releasing
			}},
		{6 * 24 * time.Hour, "Cloud Storage Team", "no-reply@storage-alerts.example", "a77@srv4.bulk.example", "Your storage is 98 % full", []string{"ana@example.org"},
			"spam", "spam-score", "Spam score 13.0: eleven of its links lead to hosts that the text does not name", "softfail none fail", "image/png", nil},
	}
}

func newFakeDesk() *fakeDesk {
	d := &fakeDesk{now: sampleTime(), raw: map[string]string{}, arrived: make(chan review.Row, 8)}
	for i, s := range samples() {
		r := review.Row{ID: sampleID(i + 1), Received: d.now.Add(-s.ago), State: quarantine.Kept, Result: "held", FromName: s.name, FromAddress: s.from,
			Sender: s.sender, Subject: s.subject, Class: s.class, Rule: s.rule, Because: s.because, Score: 4.2, Size: 48213, Policy: "a91f3c",
			Expires: d.now.Add(30*24*time.Hour - s.ago), May: []review.Verb{review.Release, review.Delete, review.Spam, review.Seen, review.Take, review.Ask}}
		r.Mismatch = s.sender != s.from
		auth := strings.Fields(s.auth)
		r.Auth = review.Auth{SPF: auth[0], DKIM: auth[1], DMARC: auth[2]}
		r.Attachments = strings.Fields(s.attached)
		r.Envelope = mail.Envelope{ID: r.ID, Received: r.Received, Sender: addr(s.sender),
			Client: mail.Client{Addr: netip.MustParseAddr("198.51.100.66"), Helo: "pc7.stranger.example", ESMTP: true, TLS: "TLS1.3 TLS_AES_128_GCM_SHA256"}}
		for _, to := range s.to {
			r.Copies = append(r.Copies, quarantine.Copy{Recipient: mail.RcptTo{Address: addr(to)}, Class: s.class, Rule: s.rule, Because: s.because, State: quarantine.Kept, Changed: r.Received})
		}
		if s.change != nil {
			s.change(&r)
		}
		d.rows = append(d.rows, r)
		d.raw[r.ID] = sampleRaw(r)
	}
	d.views = []review.View{{Name: "Spoofs of banks", Find: review.Find{Query: `rule == "brand-lookalike"`}}}
	return d
}

func sampleRaw(r review.Row) string {
	return "Received: from pc7.stranger.example (unknown [198.51.100.66])\r\n\tby mx.example.org with ESMTPS id " + r.ID + ";\r\n\tSun, 22 Nov 2026 18:07:00 +0000\r\n" +
		"Received: from [10.1.2.3] (helo=laptop)\r\n\tby pc7.stranger.example with esmtpa; Sun, 22 Nov 2026 18:06:41 +0000\r\n" +
		"From: \"" + r.FromName + "\" <" + r.FromAddress + ">\r\nTo: ana@example.org\r\nReply-To: collect@elsewhere.example\r\nSubject: " + r.Subject + "\r\n" +
		"Date: Sun, 22 Nov 2026 18:06:40 +0000\r\nMessage-ID: <a1@stranger.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nDear customer,\r\n\r\nyour account will be limited within 24 hours. Please confirm who you are:\r\n\r\nhttps://sparkasse-login.top/confirm?id=7731\r\n\r\nYour Sparkasse\r\n" +
		"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<h2>Dear customer</h2><p>your account will be <b>limited</b> within 24 hours. <a href=\"https://sparkasse-login.top/confirm?id=7731\">https://sparkasse.example/confirm</a></p><script>document.title='pwned'</script><img src=\"http://tracker.example/p.gif\">\r\n--b--\r\n"
}

func (d *fakeDesk) find(id string) (int, error) {
	i := slices.IndexFunc(d.rows, func(r review.Row) bool { return r.ID == id })
	if i < 0 {
		return 0, review.ErrNotFound
	}
	return i, nil
}

func (d *fakeDesk) List(_ context.Context, who *people.Actor, f review.Find) (*review.Page, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return nil, d.fail
	}
	if strings.Contains(f.Query, "recieved") {
		return nil, &review.QueryError{Text: f.Query, Column: strings.Index(f.Query, "recieved") + 1, Problem: "there is no field recieved", Hint: "did you mean received?"}
	}
	var rows []review.Row
	counts := map[string]int{}
	for _, r := range d.rows {
		text := strings.ToLower(strings.Join([]string{r.Subject, r.FromName, r.FromAddress, r.Sender, r.Because, r.Rule}, " "))
		word := strings.ToLower(strings.Trim(strings.TrimPrefix(f.Query, "rule == "), `"`))
		if !strings.Contains(text, word) || !strings.Contains(r.Sender, f.Sender) || f.View == "asked" && r.Asked == nil ||
			f.View != "all" && f.View != "released" && r.State != quarantine.Kept && r.State != quarantine.Releasing || f.View == "released" && r.State != quarantine.Released {
			continue
		}
		counts[r.Class]++
		if f.Class == "" || f.Class == r.Class {
			rows = append(rows, r)
		}
	}
	from := 0
	if f.Cursor != "" {
		fmt.Sscan(f.Cursor, &from)
	}
	limit := f.Limit
	if limit == 0 {
		limit = 50
	}
	page := &review.Page{Total: review.Count{N: len(rows)}}
	page.Rows = rows[min(from, len(rows)):min(from+limit, len(rows))]
	if from+limit < len(rows) {
		page.Next = fmt.Sprint(from + limit)
	}
	for _, c := range []string{"spam", "virus", "attachment", "spoof", "policy", "malformed"} {
		if counts[c] > 0 {
			page.Chips = append(page.Chips, review.Chip{Name: "class:" + c, Label: className(c), On: f.Class == c, Count: review.Count{N: counts[c]}})
		}
	}
	page.Chips = append(page.Chips, review.Chip{Name: "view:asked", Label: "Asked for release", On: f.View == "asked", Count: review.Count{N: 1}},
		review.Chip{Name: "view:expiring", Label: "Expiring soon", Count: review.Count{N: 1}})
	return page, nil
}

func (d *fakeDesk) Track(ctx context.Context, who *people.Actor, f review.Find) (*review.Page, error) {
	f.View = "all"
	page, err := d.List(ctx, who, f)
	if err == nil {
		page.Rows = slices.Clone(page.Rows)
		for i := range page.Rows {
			page.Rows[i].May, page.Rows[i].State = nil, "" // as the real one
		}
	}
	return page, err
}

func (d *fakeDesk) Message(_ context.Context, who *people.Actor, id string) (*review.Message, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, err := d.find(id)
	if err != nil {
		return nil, err
	}
	r := d.rows[i]
	at := r.Received
	m := &review.Message{Row: r, Place: "20-spoof.yaml:12", Text: who.May(people.ReadMail), Known: review.Known{}}
	m.Entry = &journal.Entry{ID: id, Received: at, Policy: "a91f3c", Envelope: r.Envelope, Subject: r.Subject, From: r.FromName + " <" + r.FromAddress + ">", MessageID: "a1@stranger.example",
		Size: r.Size, Result: "mixed", Took: 412 * time.Millisecond}
	for _, c := range r.Copies {
		m.Entry.Outcomes = append(m.Entry.Outcomes, journal.Outcome{Recipient: c.Recipient.Address, Do: "quarantine", Rule: c.Rule, Class: c.Class, Because: c.Because, Held: id, Reply: "250 2.0.0 held as " + id})
	}
	m.Entry.Outcomes = append(m.Entry.Outcomes, journal.Outcome{Recipient: addr("archive@example.org"), Do: "deliver", Upstream: "250 2.0.0 Ok: queued as 4X2", Reply: "250 2.0.0 Ok: queued as 4X2"})
	m.Timeline = []review.Event{
		{At: at.Add(-2 * time.Second), Kind: "session", What: "198.51.100.66 connected", Why: "EHLO pc7.stranger.example, TLS 1.3"},
		{At: at.Add(-1 * time.Second), Kind: "session", What: "MAIL FROM:<" + r.Sender + ">"},
		{At: at.Add(-900 * time.Millisecond), Kind: "filter", What: "spf", Took: 31 * time.Millisecond, Why: "fail"},
		{At: at.Add(-800 * time.Millisecond), Kind: "filter", What: "dkim", Took: 4 * time.Millisecond, Why: "no signature"},
		{At: at.Add(-700 * time.Millisecond), Kind: "filter", What: "clamav", Took: 212 * time.Millisecond, Why: "not needed"},
		{At: at, Kind: "verdict", What: "held by " + r.Rule, Why: r.Because},
		{At: at.Add(5 * time.Minute), Kind: "person", What: "read the text", Who: "Ana Ortiz"},
	}
	m.Explain = []review.Explained{{Recipient: r.Copies[0].Recipient.Address.String(), Do: "quarantine", Rule: r.Rule,
		Flips: []string{"It would be delivered if dmarc.result were \"pass\"."}, Shadow: "The shadow rule new-domains would have refused it.",
		Sources: []review.ExplainedSource{{Filter: "spf", State: "done", Took: 31 * time.Millisecond, Facts: map[string]string{"spf.result": `"fail"`}},
			{Filter: "dmarc", State: "done", Took: time.Millisecond, Facts: map[string]string{"dmarc.result": `"fail"`, "dmarc.policy": `"quarantine"`}},
			{Filter: "clamav", State: "not needed", Facts: map[string]string{}}},
		Steps: []review.ExplainedStep{
			{Rule: "clamav", Place: "builtin:8", When: "clamav.infected", Result: review.StepNo, Parts: []review.ExplainedPart{{Text: "clamav.infected", Value: "false", Values: "clamav.infected is false"}}},
			{Rule: "trusted-partners", Place: "10-partners.yaml:4", When: `sender.domain in ["friend.example"] and dmarc.result == "pass"`, Result: review.StepNo,
				Parts: []review.ExplainedPart{{Text: `sender.domain in ["friend.example"]`, Value: "false", Values: `sender.domain is "mailer77.example"`}, {Text: `dmarc.result == "pass"`, Value: "not needed"}}},
			{Rule: r.Rule, Place: "20-spoof.yaml:12", When: `from.domain in brands and dmarc.result != "pass" and any(content.links, .host != from.domain)`, Result: review.StepMatched, Decided: true, Do: "quarantine", Score: 4,
				Parts: []review.ExplainedPart{{Text: "from.domain in brands", Value: "true", Values: `from.domain is "sparkasse.example"`}, {Text: `dmarc.result != "pass"`, Value: "true", Values: `dmarc.result is "fail"`},
					{Text: "any(content.links, .host != from.domain)", Value: "true", Values: `host is "sparkasse-login.top"`}}},
			{Rule: "new-domains", Place: "30-new.yaml:3", When: "links.youngest < 7d", Result: review.StepMatched, Shadow: true, Do: "reject"},
			{Rule: "spam-score", Place: "40-spam.yaml:1", When: "score >= 6", Result: review.StepNotAsked},
		}}}
	return m, nil
}

func (d *fakeDesk) Content(_ context.Context, who *people.Actor, id string, why string) (io.ReadCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.find(id); err != nil {
		return nil, err
	}
	d.reads = append(d.reads, id+" "+why)
	return io.NopCloser(strings.NewReader(d.raw[id])), nil
}

func (d *fakeDesk) Summary(_ context.Context, who *people.Actor, a review.Act) (*review.Summary, error) {
	n := len(a.IDs)
	if a.Find != nil {
		n = len(d.rows)
	}
	until := d.now
	if a.Find == nil {
		until = time.Time{}
	}
	return &review.Summary{Items: review.Count{N: n, More: d.uncounted}, Until: until, Senders: 9, Rules: 3, Copies: n + 4, Dangerous: d.rows[3:5], Refused: 0,
		Words: []string{many(n, "message") + " of 9 senders, held by 3 rules, would be " + said(a.Do) + "."}}, nil
}

func (d *fakeDesk) Do(_ context.Context, who *people.Actor, a review.Act) (*review.Done, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return nil, d.fail
	}
	d.done = append(d.done, a)
	n := len(a.IDs)
	if a.Find != nil {
		n = len(d.rows)
	}
	done := &review.Done{Count: n, Words: className(said(a.Do)) + ": " + many(n, "message") + "."}
	if a.Undoing {
		done.ID, done.Due = fmt.Sprintf("ACT%d", len(d.done)), time.Now().Add(review.Grace)
	}
	for _, id := range a.IDs {
		done.Items = append(done.Items, review.ItemDone{ID: id, Result: "done", Words: className(said(a.Do)) + "."})
	}
	return done, nil
}

func (d *fakeDesk) Undo(_ context.Context, who *people.Actor, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !strings.HasPrefix(id, "ACT") {
		return review.ErrTooLate
	}
	d.undone = append(d.undone, id)
	return nil
}

func (d *fakeDesk) WouldAllow(_ context.Context, who *people.Actor, id string, a review.Allow) (*review.Effect, error) {
	if strings.Contains(a.Entry, " ") {
		return nil, errors.New("no such entry")
	}
	return &review.Effect{Days: 30, Looked: 18_441, In: 14, Spam: 2, Unsure: 3, Rows: d.rows[1:4], Entry: lists.Entry{Value: a.Entry, Allow: true, Scope: a.Scope, Until: a.Until}}, nil
}

func (d *fakeDesk) Requests(_ context.Context, who *people.Actor, state, cursor string, limit int) (*review.Page, error) {
	page := &review.Page{}
	for _, r := range d.rows {
		if r.Asked != nil && (state == "" || r.Asked.State == state) {
			page.Rows = append(page.Rows, r)
		}
	}
	page.Total.N = len(page.Rows)
	return page, nil
}

func (d *fakeDesk) Views(context.Context, *people.Actor) ([]review.View, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.views), nil
}

func (d *fakeDesk) SaveView(_ context.Context, _ *people.Actor, v review.View) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.views = append(d.views, v)
	return nil
}

func (d *fakeDesk) DropView(_ context.Context, _ *people.Actor, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.views = slices.DeleteFunc(d.views, func(v review.View) bool { return v.Name == name })
	return nil
}

func (d *fakeDesk) Arrivals(context.Context, *people.Actor) (<-chan review.Row, error) {
	return d.arrived, nil
}

func (d *fakeDesk) Refuse(_ context.Context, who *people.Actor, act, object string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused = append(d.refused, strings.TrimSpace(act+" "+object))
	return review.ErrForbidden
}

func (d *fakeDesk) Audit(_ context.Context, who *people.Actor, before int64, limit int) ([]audit.Line, error) {
	return []audit.Line{
		{N: 812, At: d.now.Add(-3 * time.Minute), Who: "ana", By: "page", From: "192.0.2.7", Act: "release", Object: sampleID(2), Result: "done", Reason: "expected file"},
		{N: 811, At: d.now.Add(-4 * time.Minute), Who: "ana", By: "page", From: "192.0.2.7", Act: "read", Object: sampleID(2), Result: "done", Note: "text"},
		{N: 810, At: d.now.Add(-20 * time.Minute), Who: "", By: "page", From: "203.0.113.99", Act: "sign-in", Object: "root", Result: "refused", Note: "no such person"},
		{N: 809, At: d.now.Add(-2 * time.Hour), Who: "ben", By: "token", Act: "apply", Object: "rules 41", Result: "done", Note: "boss-name in force"},
	}, nil
}

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/journal"
	"postern/mail"
	"postern/quarantine"
)

// mails makes up mail: 20 domains with 500 people, 30,000 senders of which some write often.
type mails struct {
	r       *rand.Rand
	entropy *rand.ChaCha8
	known   map[string]map[string]json.RawMessage // facts, by host and class
}

func newMails(seed uint64) *mails {
	return &mails{r: rand.New(rand.NewPCG(seed, 2)), entropy: rand.NewChaCha8([32]byte{byte(seed)}), known: map[string]map[string]json.RawMessage{}}
}

// A made is one made-up message.
type made struct {
	id                 string
	env                mail.Envelope
	subject, from, mid string
	size               int64
	do, rule, class    string
	because, reply     string
	score              float64
	host               string
	links              int
	facts              map[string]json.RawMessage
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// next is any message: most are delivered, some refused.
func (w *mails) next(at time.Time) *made {
	m := w.mail(at)
	switch n := w.r.IntN(100); {
	case n < 78:
		m.do, m.reply = "deliver", "250 2.0.0 Ok: queued as "+w.word(10)
	case n < 90:
		m.do, m.rule, m.class = "reject", "dmarc-reject", "spoof"
		m.because, m.reply = "it says it is from "+m.host+", whose policy refuses it", "550 5.7.26 refused by the DMARC policy of "+m.host
	case n < 94:
		m.do, m.reply = "reject", "550 5.1.1 <"+m.env.Recipients[0].Address.String()+">: Recipient address rejected: User unknown"
	case n < 98:
		m.do, m.because, m.reply = "defer", "the scanner gave no answer", "451 4.7.1 try again later"
	case n < 99:
		m.do, m.rule, m.class, m.reply = "discard", "loop", "policy", "250 2.0.0 taken"
	}
	m.facts = w.facts(m)
	return m
}

// nextHeld is one that is held.
func (w *mails) nextHeld(at time.Time) *made {
	m := w.mail(at)
	m.do, m.reply = "quarantine", "250 2.0.0 held for review as "+m.id
	switch n := w.r.IntN(1000); {
	case n < 620:
		m.class, m.rule = "spam", fmt.Sprintf("spam-%d", w.r.IntN(12))
		m.because = fmt.Sprintf("it looks like spam: score %.1f, known %s", m.score, pick(w.r, []string{"campaign", "links", "network", "wording"}))
	case n < 820:
		m.class, m.rule = "spoof", pick(w.r, []string{"spoof", "own-domain", "look-alike"})
		m.because = "it says it is from " + m.host + ", but DMARC failed and the envelope is from " + m.env.Sender.Domain
	case n < 900:
		m.class, m.rule, m.because = "attachment", "dangerous-attachment", "it carries a file of a dangerous kind: "+w.word(6)+".exe"
	case n < 985:
		m.class, m.rule, m.because = "policy", "partners", "the sender is not on the list of partners"
	case n < 996:
		m.class, m.rule, m.because = "malformed", "malformed", "its parts are put together so that programs read them differently"
	default:
		m.class, m.rule, m.because = "virus", "clamav", "it carries "+pick(w.r, []string{"Win.Trojan.Agent", "Doc.Dropper.Emotet", "Pdf.Phishing.Link"})+fmt.Sprint("-", w.r.IntN(9999))
	}
	m.facts = w.facts(m)
	return m
}

func (w *mails) word(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[w.r.IntN(36)]
	}
	return string(b)
}

func (w *mails) mail(at time.Time) *made {
	sender := int(float64(30_000) * w.r.Float64() * w.r.Float64() * w.r.Float64())
	host := fmt.Sprintf("%s%d.example", pick(w.r, []string{"bank", "shop", "news", "cloud", "mail", "post"}), sender%3000)
	name := pick(w.r, strings.Fields("Ana Ben Carla David Elif Farid Greta Hugo Ines Jonas Kemal Lena Mateo Nadia Olga Piotr Quentin Rosa Sven Tarek"))
	m := &made{id: ulid.MustNew(ulid.Timestamp(at), w.entropy).String(), host: host, size: 2000 + int64(w.r.ExpFloat64()*40_000), score: float64(w.r.IntN(150)) / 10, links: w.r.IntN(25)}
	m.env = mail.Envelope{ID: m.id, Received: at, Sender: mail.Address{Local: fmt.Sprintf("%s.%d", strings.ToLower(name), sender), Domain: host},
		Client: mail.Client{Addr: netip.AddrFrom4([4]byte{198, 51, byte(sender >> 8), byte(sender)}), Helo: "mx." + host, ESMTP: true, TLS: "TLS1.3 TLS_AES_128_GCM_SHA256"}}
	if w.r.IntN(20) == 0 {
		m.env.Sender = mail.Address{}
	}
	n := 1
	if w.r.IntN(8) == 0 {
		n += 1 + w.r.IntN(3)
	}
	domain := fmt.Sprintf("office%d.example", int(20*w.r.Float64()*w.r.Float64()))
	for range n {
		m.env.Recipients = append(m.env.Recipients, mail.RcptTo{Address: mail.Address{Local: fmt.Sprintf("person%d", w.r.IntN(25)), Domain: domain}})
	}
	m.subject = fmt.Sprintf("%s %s %d: %s %s", pick(w.r, strings.Fields("Your Re: Fwd: Overdue New Monthly Urgent Final Ihre Votre")),
		pick(w.r, strings.Fields("invoice order report parcel account meeting contract password payment offer Rechnung réunion")), w.r.IntN(100_000),
		pick(w.r, strings.Fields("please confirm review approve see download open sign pay update")), pick(w.r, strings.Fields("today tomorrow soon now attached below details document form link")))
	m.from = fmt.Sprintf("%q <%s@%s>", name+" "+strings.ToUpper(w.word(1))+w.word(5), strings.ToLower(name), host)
	m.mid = "<" + w.word(24) + "@" + host + ">"
	return m
}

func (m *made) item() *quarantine.Item {
	it := &quarantine.Item{ID: m.id, Received: m.env.Received, State: quarantine.Kept, Envelope: m.env, Subject: m.subject, From: m.from, MessageID: m.mid, Policy: "seeded"}
	for _, r := range m.env.Recipients {
		it.Copies = append(it.Copies, quarantine.Copy{Recipient: r, Class: m.class, Rule: m.rule, Because: m.because, Score: m.score})
	}
	return it
}

// message is the text of a held message.
func message(it *quarantine.Item) string {
	return "From: " + it.From + "\r\nTo: " + it.Copies[0].Recipient.Address.String() + "\r\nSubject: " + it.Subject + "\r\nMessage-ID: " + it.MessageID +
		"\r\nDate: " + it.Received.Format(time.RFC1123Z) + "\r\n\r\nThis message was made up.\r\n"
}

func (m *made) entry() *journal.Entry {
	e := &journal.Entry{ID: m.id, Received: m.env.Received, Policy: "seeded", Envelope: m.env, Subject: m.subject, From: m.from, MessageID: m.mid, Size: m.size,
		Took: 35 * time.Millisecond, Reply: mail.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "ok"}, Facts: m.facts,
		Filters: []journal.Timing{{Name: "spf", State: journal.Done, Took: 2 * time.Millisecond}, {Name: "dkim", State: journal.Done, Took: time.Millisecond},
			{Name: "dmarc", State: journal.Done}, {Name: "content", State: journal.Done}, {Name: "clamav", State: journal.NotNeeded}},
		Steps: []journal.Step{{At: 1000, What: "mail"}, {At: 90_000, What: "rcpt", Why: "250 2.1.5 Ok"}, {At: 30_000_000, What: "decided", Why: m.rule}, {At: 31_000_000, What: "reply", Why: m.reply}}}
	for _, r := range m.env.Recipients {
		o := journal.Outcome{Recipient: r.Address, Do: m.do, Rule: m.rule, Class: m.class, Because: m.because, Score: m.score, Reply: m.reply}
		if m.do == "quarantine" {
			o.Held = m.id
		}
		e.Outcomes = append(e.Outcomes, o)
	}
	e.Result = map[string]string{"deliver": "delivered", "reject": "refused", "defer": "deferred", "discard": "discarded", "quarantine": "held", "": "abandoned"}[m.do]
	return e
}

// facts are of the usual size, 2 to 4 KB, and the same for mail of one host and class.
func (w *mails) facts(m *made) map[string]json.RawMessage {
	if f := w.known[m.host+m.class]; f != nil {
		return f
	}
	result := "pass"
	if m.class == "spoof" {
		result = "fail"
	}
	var links []string
	for i := range m.links {
		links = append(links, fmt.Sprintf(`{"url":"https://www.%s/%s/%d","host":"www.%s"}`, m.host, m.id[20:], i, m.host))
	}
	raw := func(format string, args ...any) json.RawMessage { return json.RawMessage(fmt.Sprintf(format, args...)) }
	quoted := func(s string) json.RawMessage { b, _ := json.Marshal(s); return b }
	f := map[string]json.RawMessage{
		"spf":   raw(`{"result":%q,"domain":%q,"reason":"","error":""}`, result, m.host),
		"dkim":  raw(`{"result":%q,"signatures":[{"result":%q,"domain":%q,"selector":"s1","aligned":true,"error":""}],"error":""}`, result, result, m.host),
		"dmarc": raw(`{"result":%q,"policy":"reject","domain":%q,"error":""}`, result, m.host),
		"content": raw(`{"subject":%s,"from":[{"name":"","address":"x@%s","domain":%q}],"links":[%s],"attachments":[],"defects":[],"header":{"message-id":%s,"mime-version":"1.0","content-type":"multipart/alternative; boundary=\"b-%s\"","date":%q,"list-unsubscribe":"<https://www.%s/u/%s>"},"error":""}`,
			quoted(m.subject), m.host, m.host, strings.Join(links, ","), quoted(m.mid), m.id, m.env.Received.Format(time.RFC1123Z), m.host, m.id),
	}
	w.known[m.host+m.class] = f
	return f
}

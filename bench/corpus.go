package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"
)

// nDomains is how many senders there are.
const nDomains = 40

// A message is one mail as the sender sends it.
type message struct {
	from, to, helo string
	client         string // whose address the PROXY header tells
	raw            []byte
	wire           []byte // raw, dot-stuffed, with the end mark
}

// A corpus holds the workloads, and the DNS zone by which all of it passes.
type corpus struct {
	small []*message
	mix   []*message // each as often as its share
	big   []*message
	zone  string
}

// newCorpus makes signed mail: from a fixed seed, but for keys and dates.
func newCorpus() (*corpus, error) {
	w := &writer{r: mrand.New(mrand.NewPCG(7, 11))}
	var c corpus
	var zone strings.Builder
	zone.WriteString("inside.test MX 10 mx.inside.test\nmx.inside.test A 127.0.0.1\n")
	var keys [nDomains]*rsa.PrivateKey
	for i := range nDomains {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		keys[i] = k
		if err := publish(&zone, i, &k.PublicKey); err != nil {
			return nil, err
		}
	}
	c.zone = zone.String()
	add := func(list *[]*message, i, times int, raw []byte) error {
		m, err := sign(i, raw, keys[i])
		for range times {
			*list = append(*list, m)
		}
		return err
	}
	for i := range nDomains {
		if err := add(&c.small, i, 1, w.text(i, 4<<10)); err != nil {
			return nil, err
		}
		raw, times := w.alternative(i, 8<<10), 14 // 20 messages, 70 %
		switch {
		case i >= 36: // 4 messages, 5 %
			raw, times = w.mixed(i, 2<<20), 5
		case i >= 20: // 16 messages, 24 %
			raw, times = w.mixed(i, 80<<10), 6
		}
		if err := add(&c.mix, i, times, raw); err != nil {
			return nil, err
		}
	}
	for i := range 2 {
		if err := add(&c.big, i, 1, w.mixed(i, 20<<20)); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

func domain(i int) string  { return fmt.Sprintf("sender%02d.test", i) }
func address(i int) string { return fmt.Sprintf("198.18.5.%d", 10+i) }

// publish writes the records of one sender: SPF by way of include, DKIM, DMARC.
func publish(zone *strings.Builder, i int, k *rsa.PublicKey) error {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return err
	}
	d, key := domain(i), base64.StdEncoding.EncodeToString(der)
	fmt.Fprintf(zone, "%s TXT \"v=spf1 mx include:_spf.%s -all\"\n%s TXT \"some-site-verification=0123456789abcdef\"\n", d, d, d)
	fmt.Fprintf(zone, "_spf.%s TXT \"v=spf1 ip4:203.0.113.0/24 ip4:198.18.5.0/24 ~all\"\n%s MX 10 mx.%s\nmx.%s A 203.0.113.25\n", d, d, d, d)
	fmt.Fprintf(zone, "%s A 203.0.113.80\nout.%s A %s\n_dmarc.%s TXT \"v=DMARC1; p=reject; adkim=r; aspf=r; rua=mailto:dmarc@%s\"\n", d, d, address(i), d, d)
	fmt.Fprintf(zone, "rsa._domainkey.%s TXT \"v=DKIM1; k=rsa; p=%s\" \"%s\"\n", d, key[:200], key[200:])
	return nil
}

func sign(i int, raw []byte, k *rsa.PrivateKey) (*message, error) {
	var b bytes.Buffer
	err := dkim.Sign(&b, bytes.NewReader(raw), &dkim.SignOptions{
		Domain: domain(i), Selector: "rsa", Signer: k, Hash: crypto.SHA256,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"},
	})
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	wire := bytes.ReplaceAll(b.Bytes(), []byte("\n."), []byte("\n.."))
	return &message{from: "bounce@" + domain(i), to: fmt.Sprintf("user%02d@inside.test", i), helo: "out." + domain(i), client: address(i),
		raw: b.Bytes(), wire: append(wire, ".\r\n"...)}, nil
}

// A writer writes mail that nobody wrote.
type writer struct{ r *mrand.Rand }

const vocabulary = `the of and to in is that for it was on are as with his they at be this have from or one had by word but not
what all were we when your can said there use an each which she do how their if will up other about out many then them these so
some her would make like him into time has look two more write go see number no way could people invoice meeting schedule project
report quarter customer delivery account team review update please regards attached document`

// prose writes about size bytes of words in lines, with a link now and then.
func (w *writer) prose(b *bytes.Buffer, size int) {
	words := strings.Fields(vocabulary)
	column := 0
	for end := b.Len() + size; b.Len() < end; {
		word := words[w.r.IntN(len(words))]
		if w.r.IntN(160) == 0 {
			word = fmt.Sprintf("https://www.%s/page/%d", domain(w.r.IntN(nDomains)), w.r.IntN(9999))
		}
		if column+len(word) > 72 {
			b.WriteString("\r\n")
			column = 0
			if w.r.IntN(12) == 0 {
				b.WriteString("\r\n")
			}
		}
		b.WriteString(word)
		b.WriteByte(' ')
		column += len(word) + 1
	}
	b.WriteString("\r\n")
}

func (w *writer) header(b *bytes.Buffer, i int, kind string) {
	date, d := time.Now().Add(-time.Minute).Format(time.RFC1123Z), domain(i)
	fmt.Fprintf(b, "Received: from desk.%s (desk.%s [192.0.2.%d])\r\n\tby out.%s with ESMTPS id %08x;\r\n\t%s\r\n", d, d, i+1, d, w.r.Uint32(), date)
	fmt.Fprintf(b, "From: \"Alex Sender %d\" <alex@%s>\r\nTo: User %02d <user%02d@inside.test>\r\n", i, d, i, i)
	fmt.Fprintf(b, "Subject: Weekly status report number %d and next steps\r\nDate: %s\r\nMessage-ID: <%08x.%08x@%s>\r\n", i, date, w.r.Uint32(), w.r.Uint32(), d)
	fmt.Fprintf(b, "MIME-Version: 1.0\r\nUser-Agent: TestMailer/1.0\r\nContent-Type: %s\r\n", kind)
}

// room is what a signature will add.
const room = 700

// text is a plain message of about size bytes.
func (w *writer) text(i, size int) []byte {
	var b bytes.Buffer
	w.header(&b, i, "text/plain; charset=utf-8")
	b.WriteString("Content-Transfer-Encoding: 7bit\r\n\r\n")
	w.prose(&b, size-b.Len()-room)
	return b.Bytes()
}

// alternative is a message in text and HTML.
func (w *writer) alternative(i, size int) []byte {
	var b bytes.Buffer
	w.header(&b, i, "multipart/alternative; boundary=alt0")
	b.WriteString("\r\n")
	w.both(&b, size-b.Len()-room)
	return b.Bytes()
}

func (w *writer) both(b *bytes.Buffer, size int) {
	b.WriteString("--alt0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	w.prose(b, size*3/10)
	b.WriteString("--alt0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><head><title>Report</title></head><body>\r\n")
	for end := b.Len() + size*6/10; b.Len() < end; {
		b.WriteString("<p style=\"font-family:sans-serif;color:#222\">\r\n")
		w.prose(b, 300)
		fmt.Fprintf(b, "<a href=\"https://www.%s/x/%d\">more</a></p>\r\n", domain(w.r.IntN(nDomains)), w.r.IntN(999))
	}
	b.WriteString("</body></html>\r\n--alt0--\r\n")
}

// mixed is a message in text and HTML with one attachment in base64, which fills it up to size.
func (w *writer) mixed(i, size int) []byte {
	var b bytes.Buffer
	w.header(&b, i, "multipart/mixed; boundary=mix0")
	b.WriteString("\r\n--mix0\r\nContent-Type: multipart/alternative; boundary=alt0\r\n\r\n")
	w.both(&b, 6000)
	b.WriteString("\r\n--mix0\r\nContent-Type: application/octet-stream; name=\"data.bin\"\r\n" +
		"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"data.bin\"\r\n\r\n")
	plain, line := make([]byte, 57), make([]byte, 76)
	for end := size - room; b.Len() < end; {
		for k := range plain {
			plain[k] = byte(w.r.Uint32())
		}
		base64.StdEncoding.Encode(line, plain)
		b.Write(line)
		b.WriteString("\r\n")
	}
	b.WriteString("--mix0--\r\n")
	return b.Bytes()
}

package dnsfake

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Parse reads a zone in either of two forms.
//
// Text is a master file (RFC 1035 5; names are absolute with or without a final dot, the
// TTL is 300 when none is given), with one addition: data that begins with an exclamation
// mark is a script.
//
//	example.org       TXT  "v=spf1 mx -all"
//	example.org       MX   10 mail.example.org
//	slow.example.org  TXT  !DELAY 3s
//	dead.example.org  *    !TIMEOUT
//	sick.example.org  TXT  !SERVFAIL
//
// JSON is an object of names, perhaps below "records": each has its types, a type a list of
// values, or "SERVFAIL" or "TIMEOUT". A TXT value is a string or a list of character
// strings, an MX value is [preference, host].
func Parse(text string) (*Zone, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return parseJSON([]byte(text))
	}
	z := New()
	var plainLines strings.Builder
	for n, line := range strings.Split(text, "\n") {
		if m := scripted.FindStringSubmatch(line); m != nil {
			if err := z.scriptLine(m[1], m[2], m[3], m[4]); err != nil {
				return nil, fmt.Errorf("zone, line %d: %w", n+1, err)
			}
			line = ""
		}
		plainLines.WriteString(line + "\n")
	}
	p := dns.NewZoneParser(strings.NewReader(plainLines.String()), ".", "zone")
	p.SetDefaultTTL(300)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		z.Add(rr)
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return z, nil
}

// MustParse is Parse for zones in tests; it panics on an error.
func MustParse(text string) *Zone {
	z, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return z
}

// scripted matches "name [TTL] [IN] TYPE !WORD [argument]".
var scripted = regexp.MustCompile(`^([^\s;"]+)\s+(?:\d+\s+)?(?:IN\s+)?([\w*]+)\s+!(\w+)(?:\s+([^\s;]+))?\s*(?:;.*)?$`)

func (z *Zone) scriptLine(name, kind, word, arg string) error {
	if _, ok := dns.StringToType[strings.ToUpper(kind)]; !ok && kind != "*" {
		return fmt.Errorf("unknown type %q", kind)
	}
	if word == "DELAY" {
		d, err := time.ParseDuration(arg)
		if err != nil {
			return fmt.Errorf("!DELAY: %w", err)
		}
		z.Script(name, kind, Script{Delay: d})
		return nil
	}
	s, err := failure(word)
	if err == nil {
		z.Script(name, kind, s)
	}
	return err
}

// failure gives the script of a word.
func failure(word string) (Script, error) {
	if word == "TIMEOUT" {
		return Script{Silent: true}, nil
	}
	if code, ok := dns.StringToRcode[word]; ok && code != dns.RcodeSuccess {
		return Script{Rcode: code}, nil
	}
	return Script{}, fmt.Errorf("unknown script %q: TIMEOUT, DELAY or an rcode such as SERVFAIL", word)
}

func parseJSON(b []byte) (*Zone, error) {
	var file map[string]json.RawMessage
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	if inner, ok := file["records"]; ok {
		b = inner
	}
	var records map[string]map[string]any
	if err := json.Unmarshal(b, &records); err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	return FromRecords(records)
}

// FromRecords makes a zone of what the JSON form says below "records".
func FromRecords(records map[string]map[string]any) (*Zone, error) {
	z := New()
	for name, types := range records {
		for kind, values := range types {
			if err := z.addValues(name, kind, values); err != nil {
				return nil, fmt.Errorf("zone: %s %s: %w", name, kind, err)
			}
		}
	}
	return z, nil
}

func (z *Zone) addValues(name, kind string, values any) error {
	if word, ok := values.(string); ok {
		if s, err := failure(word); err == nil {
			z.Script(name, kind, s)
			return nil
		}
		values = []any{word}
	}
	list, ok := values.([]any)
	if !ok {
		return fmt.Errorf("neither a list nor a script")
	}
	if len(list) == 0 {
		z.mu.Lock()
		z.exist(plain(name))
		z.mu.Unlock()
	}
	for _, v := range list {
		rr, err := record(name, kind, v)
		if err != nil {
			return err
		}
		z.Add(rr)
	}
	return nil
}

// record makes one record of a JSON value.
func record(name, kind string, v any) (dns.RR, error) {
	h := dns.RR_Header{Name: dns.Fqdn(escape(name)), Rrtype: dns.StringToType[kind], Class: dns.ClassINET, Ttl: 300}
	text, isText := v.(string)
	list, _ := v.([]any)
	switch {
	case kind == "TXT" || kind == "SPF":
		if isText {
			list = []any{text}
		}
		var parts []string
		for _, p := range list {
			s, ok := p.(string)
			if !ok {
				return nil, fmt.Errorf("not a string: %v", p)
			}
			for ; len(s) > 255; s = s[255:] {
				parts = append(parts, escape(s[:255]))
			}
			parts = append(parts, escape(s))
		}
		if kind == "SPF" {
			return &dns.SPF{Hdr: h, Txt: parts}, nil
		}
		return &dns.TXT{Hdr: h, Txt: parts}, nil
	case kind == "MX" && len(list) == 2:
		pref, ok1 := number(list[0])
		host, ok2 := list[1].(string)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("not [preference, host]: %v", v)
		}
		return &dns.MX{Hdr: h, Preference: pref, Mx: dns.Fqdn(escape(host))}, nil
	case kind == "A" || kind == "AAAA":
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		if kind == "A" {
			return &dns.A{Hdr: h, A: a.AsSlice()}, nil
		}
		return &dns.AAAA{Hdr: h, AAAA: a.AsSlice()}, nil
	case kind == "PTR" && isText:
		return &dns.PTR{Hdr: h, Ptr: dns.Fqdn(escape(text))}, nil
	case kind == "CNAME" && isText:
		return &dns.CNAME{Hdr: h, Target: dns.Fqdn(escape(text))}, nil
	}
	return nil, fmt.Errorf("cannot be read: %v", v)
}

func number(v any) (uint16, bool) {
	switch n := v.(type) {
	case float64:
		return uint16(n), true
	case int:
		return uint16(n), true
	case uint64:
		return uint16(n), true
	}
	return 0, false
}

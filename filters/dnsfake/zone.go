// Package dnsfake answers DNS questions from a zone that is written down: as a
// filters.Resolver for tests and for trying mails offline, and as a DNS server over UDP and
// TCP (Serve) for what wants a real one. Answers can be scripted to fail, to be slow or not
// to come at all. It is no name server for the internet: it believes whoever asks.
package dnsfake

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// A Script is what happens to a question instead of, or before, its answer.
type Script struct {
	Rcode   int           // dns.RcodeServerFailure and the like; 0 for the records
	Silent  bool          // no answer at all: over a Resolver a temporary error at once
	Delay   time.Duration // before the answer
	Corrupt bool          // a server sends half of its answer
}

// A Zone holds records of any names. A name that is not in it, nor above one that is, does
// not exist; "*.example.org" stands for the names below example.org that are not there.
// It may be changed while it is asked.
type Zone struct {
	mu      sync.Mutex
	names   map[string]map[uint16][]dns.RR
	above   map[string]bool // names that exist because a longer one does
	scripts map[question]Script
	asked   []string
}

type question struct {
	name string
	kind uint16 // dns.TypeNone stands for every type
}

// New returns an empty zone.
func New() *Zone {
	return &Zone{names: map[string]map[uint16][]dns.RR{}, above: map[string]bool{}, scripts: map[question]Script{}}
}

// Add adds a record.
func (z *Zone) Add(rr dns.RR) {
	z.mu.Lock()
	defer z.mu.Unlock()
	key, kind := plain(rr.Header().Name), rr.Header().Rrtype
	z.exist(key)
	z.names[key][kind] = append(z.names[key][kind], rr)
}

// exist makes a name and all above it exist. It is called with z.mu held.
func (z *Zone) exist(key string) {
	if z.names[key] == nil {
		z.names[key] = map[uint16][]dns.RR{}
	}
	for p := key; ; {
		_, parent, ok := strings.Cut(p, ".")
		if !ok {
			return
		}
		z.above[parent] = true
		p = parent
	}
}

// Remove removes all records and scripts of a name.
func (z *Zone) Remove(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	key := plain(name)
	delete(z.names, key)
	for q := range z.scripts {
		if q.name == key {
			delete(z.scripts, q)
		}
	}
}

// Script scripts the questions for a name: of one type ("TXT"), or "*" of every type that
// has no script of its own. A name that has only scripts exists.
func (z *Zone) Script(name, kind string, s Script) {
	z.mu.Lock()
	defer z.mu.Unlock()
	key := plain(name)
	z.exist(key)
	z.scripts[question{key, dns.StringToType[strings.ToUpper(kind)]}] = s
}

// Asked lists the questions so far, as "TXT example.org", in their order. The log is
// capped.
func (z *Zone) Asked() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Clone(z.asked)
}

const maxAsked = 10000

// A reply is what the zone says.
type reply struct {
	records []dns.RR // CNAMEs first
	rcode   int
	script  Script
}

// ask looks a name up, following CNAMEs.
func (z *Zone) ask(name string, kind uint16) reply {
	z.mu.Lock()
	defer z.mu.Unlock()
	key := plain(name)
	if len(z.asked) < maxAsked {
		z.asked = append(z.asked, dns.TypeToString[kind]+" "+key)
	}
	var r reply
	for hop := 0; hop < 16; hop++ {
		types, exists := z.find(key)
		if s, ok := z.script(key, kind, types); ok {
			r.script = s
			if s.Silent || s.Rcode != 0 {
				r.rcode = s.Rcode
				return r
			}
		}
		if found := types[kind]; len(found) > 0 {
			r.records = append(r.records, owned(found, name)...)
			return r
		}
		alias := types[dns.TypeCNAME]
		if len(alias) == 0 {
			if !exists && !z.above[key] {
				r.rcode = dns.RcodeNameError
			}
			return r
		}
		r.records = append(r.records, owned(alias[:1], name)...)
		name = alias[0].(*dns.CNAME).Target
		key = plain(name)
	}
	return r // a loop: the aliases alone
}

// script finds the script of a question; "*" is for types without records of their own.
func (z *Zone) script(key string, kind uint16, types map[uint16][]dns.RR) (Script, bool) {
	if s, ok := z.scripts[question{key, kind}]; ok {
		return s, true
	}
	s, ok := z.scripts[question{key, dns.TypeNone}]
	return s, ok && len(types[kind]) == 0
}

// find gives the records of a name, or of the wildcard that stands for it.
func (z *Zone) find(key string) (map[uint16][]dns.RR, bool) {
	if t, ok := z.names[key]; ok {
		return t, true
	}
	for p := key; !z.above[p]; {
		_, parent, ok := strings.Cut(p, ".")
		if !ok {
			break
		}
		if t, ok := z.names["*."+parent]; ok {
			return t, true
		}
		p = parent
	}
	return nil, false
}

// owned returns the records under the name that was asked, as wildcards need.
func owned(rrs []dns.RR, name string) []dns.RR {
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = rr
		if plain(rr.Header().Name) != plain(name) {
			out[i] = dns.Copy(rr)
			out[i].Header().Name = dns.Fqdn(name)
		}
	}
	return out
}

// plain gives a name in lower case without its final dot and without escapes.
func plain(name string) string {
	return strings.ToLower(unescape(strings.TrimSuffix(name, ".")))
}

// unescape resolves \X and \DDD (RFC 1035 5.1).
func unescape(s string) string {
	if !strings.Contains(s, "\\") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i+2 < len(s) && digits(s[i:i+3]) {
			b.WriteByte((s[i]-'0')*100 + (s[i+1]-'0')*10 + s[i+2] - '0')
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// escape is its inverse for a string with no dots that separate.
func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' || c == '"':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			b.Write([]byte{'\\', '0' + c/100, '0' + c/10%10, '0' + c%10})
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

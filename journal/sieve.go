package journal

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/search"
)

// A sieve is a condition as far as the columns of entries can tell: no row that fits falls
// through, some that do not may stay in. What a row's detail says decides (Query.fits), unless
// the sieve is exact.
type sieve struct {
	q     *Query
	few   bool // an index leads to few rows: they are listed first, rather than each row looked up
	text  strings.Builder
	args  []any
	exact bool
	long  []string // conditions of rows whose columns may not have all that there is: exact is not about these
	some  bool     // it has looked at a copy: several looks may be at different ones
	err   error
}

func (q *Query) sieve(c *search.Condition, few bool) (*sieve, error) {
	s := &sieve{q: q, few: few, exact: q.Only == nil}
	s.only()
	s.add(" AND ")
	s.write(c, false)
	return s, s.err
}

func (s *sieve) add(sql string, args ...any) {
	s.text.WriteString(sql)
	s.args = append(s.args, args...)
}

// loose lets every row through.
func (s *sieve) loose() {
	s.exact = false
	s.add("TRUE")
}

func (s *sieve) write(c *search.Condition, not bool) {
	between, none := " AND ", "TRUE"
	switch {
	case c == nil:
		s.add("TRUE")
		return
	case c.Op == search.Not:
		s.write(c.Parts[0], !not)
		return
	case c.Op != search.And && c.Op != search.Or:
		s.leaf(c, not)
		return
	case (c.Op == search.Or) != not:
		between, none = " OR ", "FALSE"
	}
	if len(c.Parts) == 0 {
		s.add(none)
		return
	}
	s.add("(")
	for i, p := range c.Parts {
		if i > 0 {
			s.add(between)
		}
		s.write(p, not)
	}
	s.add(")")
}

// Texts that are cut when they are long: from these bytes on anything may have stood there.
const (
	longWords   = 2400
	longReplies = 340
)

func (s *sieve) leaf(c *search.Condition, not bool) {
	switch c.Field {
	case "received":
		s.received(c, not)
	case "sender":
		s.plain(c, not, "sender")
	case "sender.domain":
		s.plain(c, not, "sender_domain")
	case "client":
		s.plain(c, not, "client")
	case "id":
		s.plain(c, not, "lower(id)")
	case "subject":
		s.plain(c, not, "substr(words, 1, instr(words, char(10)) - 1)")
	case "result":
		if s.q.Only != nil {
			s.loose()
			return
		}
		s.plain(c, not, "result")
	case "message_id":
		if slices.ContainsFunc(c.Texts, func(t string) bool { return !ascii(t) }) {
			s.loose() // lower knows ASCII only
			return
		}
		s.plain(c, not, "lower(message_id)")
	case search.Anything:
		if not && s.q.Only != nil {
			s.loose()
			return
		}
		s.part(c, not, "words", longWords)
	case "reply":
		if not && (s.q.Only != nil || c.Op != search.Has) {
			s.loose()
			return
		}
		s.exact = s.exact && c.Op == search.Has
		s.part(c, not, "replies", longReplies)
	case "from":
		s.among(c, not, "words", longWords)
	case "rcpt", "rcpt.domain", "because", "rule", "class":
		s.ofCopy(c, not)
	case "size":
		s.add("(size = -1 OR ")
		s.plain(c, not, "size")
		s.add(")")
		s.cut("size = -1")
	case "score", "do":
		s.loose()
	default:
		s.err = fmt.Errorf("%s cannot be searched here", c.Field)
	}
}

// received looks at seq, which may have been moved on a little.
func (s *sieve) received(c *search.Condition, not bool) {
	op := c.Op
	if not {
		op = map[search.Op]search.Op{search.Less: search.AtLeast, search.AtMost: search.More, search.More: search.AtMost, search.AtLeast: search.Less}[op]
	}
	at := c.Time.UnixMicro()
	switch op {
	case search.Less, search.AtMost:
		s.add("seq <= ?", at+sameTime)
		s.exact = false
	case search.More: // exact, but for some microseconds
		s.add("seq > ?", at)
	case search.AtLeast:
		s.add("seq >= ?", at)
	case search.Equal:
		s.add("seq BETWEEN ? AND ?", at, at+sameTime)
		s.exact = false
	default:
		s.loose()
	}
}

// plain asks one column.
func (s *sieve) plain(c *search.Condition, not bool, column string) {
	sql, args, err := c.SQL(map[string]search.Column{c.Field: {SQL: column}})
	if err != nil {
		s.err = err
	}
	if not {
		sql = "NOT (" + sql + ")"
	}
	s.add(sql, args...)
}

// part looks for a part of a text that may have been cut.
func (s *sieve) part(c *search.Condition, not bool, column string, long int) {
	sql := "instr(" + column + ", ?) > 0"
	if c.Texts[0] == "" {
		s.loose()
		return
	}
	cut := fmt.Sprintf("octet_length(%s) > %d", column, long)
	s.cut(cut)
	if not {
		s.add("NOT "+sql, c.Texts[0])
		return
	}
	s.add("("+sql+" OR "+cut+")", c.Texts[0])
}

// cut notes of which rows the columns do not tell.
func (s *sieve) cut(rows string) {
	if !slices.Contains(s.long, rows) {
		s.long = append(s.long, rows)
	}
}

// among looks for texts anywhere in a column, though they have to stand at some place in it.
func (s *sieve) among(c *search.Condition, not bool, column string, long int) {
	s.exact = false
	if not || len(c.Texts) == 0 || slices.Contains(c.Texts, "") {
		s.add("TRUE")
		return
	}
	s.add("(")
	for _, t := range c.Texts {
		s.add("instr("+column+", ?) > 0 OR ", t)
	}
	s.add(fmt.Sprintf("octet_length(%s) > %d)", column, long))
}

// ofCopy looks at what each copy has its own of: one of them has to have it. That none has is
// not known from that.
func (s *sieve) ofCopy(c *search.Condition, not bool) {
	if s.some {
		s.exact = false
	}
	s.some = true
	whole := c.Op == search.Equal || c.Op == search.In
	switch {
	case not || slices.Contains(c.Texts, "") || len(c.Texts) == 0:
		s.loose()
	case c.Field == "rcpt" && whole:
		s.recipients(c.Texts)
	case c.Field == "rcpt.domain" && whole:
		at := *c
		at.Texts = nil
		for _, t := range c.Texts {
			at.Texts = append(at.Texts, "@"+t)
		}
		s.among(&at, false, "words", longWords)
	case c.Field == "rule" || c.Field == "class":
		column := map[string]string{"rule": "rules", "class": "classes"}[c.Field]
		space := ""
		if whole {
			space = " "
		} else {
			s.exact = false
		}
		s.add("(")
		for _, t := range c.Texts {
			s.add("instr(lower("+column+"), ?) > 0 OR ", space+t+space)
		}
		s.add(fmt.Sprintf("octet_length(%s) > %d)", column, longWords))
		s.cut(fmt.Sprintf("octet_length(%s) > %d", column, longWords))
		if slices.ContainsFunc(c.Texts, func(t string) bool { return !ascii(t) }) {
			s.exact = false
		}
	default:
		s.among(c, false, "words", longWords)
	}
}

// only leaves out entries that have no copy of those that may be seen.
func (s *sieve) only() {
	if s.q.Only == nil {
		s.add("TRUE")
		return
	}
	whole, domains := s.q.onlyParts()
	s.add("(")
	s.recipients(whole)
	for _, d := range domains {
		s.add(" OR instr(words, ?) > 0", d)
	}
	if len(domains) > 0 {
		s.add(fmt.Sprintf(" OR octet_length(words) > %d", longWords))
	}
	s.add(")")
}

// recipients asks for entries of some recipients.
func (s *sieve) recipients(list []string) {
	if s.few {
		s.add("seq IN (SELECT entry FROM recipients WHERE rcpt IN ("+marks(len(list))+"))", anys(list)...)
		return
	}
	s.add("EXISTS (SELECT 1 FROM recipients WHERE rcpt IN ("+marks(len(list))+") AND entry = seq)", anys(list)...)
}

// onlyParts are the addresses, and the @domains, of Only.
func (q *Query) onlyParts() (whole, domains []string) {
	for _, o := range q.Only {
		if strings.HasPrefix(o, "@") {
			domains = append(domains, o)
		} else {
			whole = append(whole, o)
		}
	}
	return whole, domains
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

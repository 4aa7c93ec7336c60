package quarantine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"postern/search"
)

// A list is read from its newest end and stops when a page is full. For that the rows must come
// in the order of seq: by bin, or by an index on one column that has to equal something, behind
// which rows stand in that order. A plan says which. SQLite is told the way, since it cannot know
// that a full index in order is better than a small one to be sorted, or worse.

// A plan is how a Query is carried out: one or more walks in the order of seq, merged.
type plan struct {
	walks []walk
	where string // what every row must have
	args  []any
	below int64 // seq; 0: from the newest
}

// A walk is one way through sought, as s.
type walk struct {
	from  string // FROM clause, with the way
	where string
	args  []any
	seq   string // that comes in order
}

const (
	maxWalks  = 16   // in one plan
	few       = 2000 // rows that are read rather than walked past
	expireFew = 50_000
	trigram   = 3
)

// indexes are those on a column that has to equal something, the most telling first.
func indexes() []struct{ field, column string } {
	return []struct{ field, column string }{{"message_id", "message_id"}, {"rcpt", "rcpt"}, {"sender", "sender"}, {"client", "client"}, {"rule", "rule"},
		{"sender.domain", "sender_domain"}, {"rcpt.domain", "domain"}, {"class", "class"}}
}

// A choice is a way that could be taken.
type choice struct {
	column string
	values []string
	rows   int // few: that or more
}

func (s *Store) plan(ctx context.Context, q *Query) (*plan, error) {
	c := q.condition()
	p := &plan{}
	columns := q.soughtColumns()
	columns["sha256"] = search.Column{SQL: "(SELECT sha256 FROM items WHERE seq = s.seq)"}
	where, args, err := c.SQL(columns)
	if err != nil {
		return nil, err
	}
	only, onlyArgs := q.only("s")
	p.where, p.args = "s.state <> '"+string(Held)+"' AND "+only+" AND "+where, append(onlyArgs, args...)
	bins := []int{1}
	switch q.State {
	case "":
	case Any:
		bins = []int{1, 2}
	default:
		p.where, p.args = p.where+" AND s.state = ?", append(p.args, q.State)
		if bins = []int{2}; q.State == Kept || q.State == Releasing {
			bins = []int{1}
		} else if q.State == Held {
			bins = nil
		}
	}
	all := c.Conjuncts()
	if err := s.bounds(ctx, p, all); err != nil {
		return nil, err
	}
	return p, s.choose(ctx, q, p, all, bins)
}

// bounds narrows the walks to a span of time.
func (s *Store) bounds(ctx context.Context, p *plan, all []*search.Condition) error {
	add := func(text string, seq int64) { p.where, p.args = p.where+text, append(p.args, seq) }
	for _, c := range all {
		at := c.Time.UnixMicro()
		switch early := c.Op == search.Less || c.Op == search.AtMost; {
		case c.Field == "received" && early:
			add(" AND s.seq <= ?", at+sameTime)
		case c.Field == "received":
			add(" AND s.seq >= ?", at)
		case c.Field == "expires" && early:
			var n, last int64
			err := s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*), coalesce(max(seq), 0) FROM (SELECT seq FROM sought INDEXED BY sought_expires WHERE expires <= ? LIMIT ?)",
				at, expireFew).Scan(&n, &last)
			if err != nil {
				return err
			}
			if n < expireFew {
				add(" AND s.seq <= ?", last)
			}
		}
	}
	return nil
}

// choose takes the way that leads past the fewest rows.
func (s *Store) choose(ctx context.Context, q *Query, p *plan, all []*search.Condition, bins []int) error {
	for _, c := range all {
		if c.Op == search.Is && q.Marks[c.Field].Few {
			m := q.Marks[c.Field]
			p.walks = []walk{{from: "items AS i CROSS JOIN sought AS s ON s.seq = i.seq", seq: "s.seq", args: m.Args,
				where: fmt.Sprintf("i.id IN (SELECT m.item FROM %s AS m WHERE %s) AND s.bin IN (%s)", m.Table, m.rows(), ints(bins))}}
			return nil
		}
		if c.Op == search.Equal && (c.Field == "sha256" || c.Field == "id") {
			column := map[string]string{"sha256": "i.sha256 = ?", "id": "i.id = upper(?)"}[c.Field]
			p.walks = []walk{{from: "items AS i CROSS JOIN sought AS s ON s.seq = i.seq", seq: "s.seq", args: []any{c.Texts[0]},
				where: column + " AND s.bin IN (" + ints(bins) + ")"}}
			return nil
		}
	}
	best, err := s.best(ctx, q.choices(all), bins)
	if err != nil {
		return err
	}
	words := needles(all)
	if len(words) > 0 && (best == nil || best.rows >= few) {
		p.walks = []walk{{from: "sought_words AS f CROSS JOIN sought AS s ON s.seq = f.rowid", seq: "f.rowid", args: []any{match(words)},
			where: "f.sought_words MATCH ? AND s.bin IN (" + ints(bins) + ")"}}
		return nil
	}
	for _, bin := range bins {
		if best == nil {
			p.walks = append(p.walks, walk{from: "sought AS s", seq: "s.seq", where: "s.bin = ?", args: []any{bin}})
			continue
		}
		for _, v := range best.values {
			p.walks = append(p.walks, walk{from: "sought AS s INDEXED BY sought_" + best.column, seq: "s.seq",
				where: "s." + best.column + " = ? AND s.bin = ?", args: []any{v, bin}})
		}
	}
	return nil
}

// choices are the columns that have to equal something, the most telling first.
func (q *Query) choices(all []*search.Condition) []choice {
	var out []choice
	for _, x := range indexes() {
		for _, c := range all {
			if c.Field == x.field && (c.Op == search.Equal || c.Op == search.In) && len(c.Texts) <= maxWalks/2 {
				texts := slices.Clone(c.Texts)
				slices.Sort(texts)
				out = append(out, choice{column: x.column, values: slices.Compact(texts)})
			}
		}
	}
	var whole, domains []string
	for _, o := range q.Only {
		if name, ok := strings.CutPrefix(o, "@"); ok {
			domains = append(domains, name)
		} else if _, name, ok := tag(o); ok {
			domains = append(domains, name)
			whole = append(whole, o)
		} else {
			whole = append(whole, o)
		}
	}
	if len(domains) == 0 && len(whole) > 0 && len(whole) <= maxWalks/2 {
		out = append([]choice{{column: "rcpt", values: whole}}, out...)
	}
	if len(whole) == 0 && len(domains) > 0 && len(domains) <= maxWalks/2 {
		out = append(out, choice{column: "domain", values: domains})
	}
	return out
}

// best is the first choice with few rows, else the first one.
func (s *Store) best(ctx context.Context, choices []choice, bins []int) (*choice, error) {
	for i := range choices {
		c := &choices[i]
		for _, v := range c.values {
			var n int
			err := s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM sought INDEXED BY sought_"+c.column+
				" WHERE "+c.column+" = ? AND bin IN ("+ints(bins)+") LIMIT ?)", v, few).Scan(&n)
			if err != nil {
				return nil, err
			}
			c.rows += n
		}
		if c.rows < few {
			return c, nil
		}
	}
	if len(choices) == 0 {
		return nil, nil
	}
	return &choices[0], nil
}

// needles are parts of texts that stand in sought_words of every message that fits.
func needles(all []*search.Condition) []string {
	var out []string
	for _, c := range all {
		if !slices.Contains([]string{search.Anything, "subject", "from", "sender", "rcpt", "because"}, c.Field) || len(c.Texts) != 1 {
			continue
		}
		if utf8.RuneCountInString(c.Texts[0]) >= trigram {
			out = append(out, c.Texts[0])
		}
	}
	return out
}

// match asks sought_words for every three characters in a row of texts.
func match(texts []string) string {
	var terms []string
	for _, t := range texts {
		runes := []rune(t)
		for i := range len(runes) - trigram + 1 {
			term := `"` + strings.ReplaceAll(string(runes[i:i+trigram]), `"`, `""`) + `"`
			if !slices.Contains(terms, term) {
				terms = append(terms, term)
			}
		}
	}
	return strings.Join(terms, " AND ")
}

func ints(list []int) string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = strconv.Itoa(n)
	}
	return strings.Join(out, ", ")
}

// from continues behind a page.
func (p *plan) from(cursor string) error {
	if cursor == "" {
		return nil
	}
	n, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil || n <= 0 {
		return fmt.Errorf("bad cursor %q", cursor)
	}
	p.below = n
	return nil
}

// statement gives the places of most items at most, newest first; 0: of all.
func (p *plan) statement(most int) (string, []any) {
	if len(p.walks) == 0 {
		return "SELECT 0 WHERE FALSE", nil
	}
	var b strings.Builder
	var args []any
	for i, w := range p.walks {
		word := "SELECT DISTINCT "
		if len(p.walks) > 1 {
			word = "SELECT "
		}
		if i > 0 {
			b.WriteString(" UNION ")
		}
		b.WriteString(word + w.seq + " AS place FROM " + w.from + " WHERE " + w.where)
		args = append(args, w.args...)
		if p.below > 0 {
			b.WriteString(" AND " + w.seq + " < ?")
			args = append(args, p.below)
		}
		b.WriteString(" AND " + p.where)
		args = append(args, p.args...)
	}
	b.WriteString(" ORDER BY place DESC")
	if most > 0 {
		b.WriteString(" LIMIT ?")
		args = append(args, most)
	}
	return b.String(), args
}

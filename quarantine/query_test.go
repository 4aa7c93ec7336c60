package quarantine_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"postern/mail"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/rules"
	"postern/search"
	"postern/store"
)

// Words that stand in random messages; some are parts of others, some would be something in SQL.
func someWords() []string {
	return []string{"invoice", "Invoice", "in", "voi", "ПРИВЕТ", "привет", "x'); --", "50%", `"q"`, "äöü", "a_b", "*", "re: hi", ""}
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// randomItem is a message for one to three of six people.
func randomItem(r *rand.Rand, at time.Time) *quarantine.Item {
	it := quarantinetest.Item(at, slices.Compact(slices.Sorted(slices.Values([]string{
		fmt.Sprintf("r%d@%s.example", r.IntN(3), pick(r, []string{"a", "B"})), fmt.Sprintf("r%d@b.example", r.IntN(3)), "r0@a.example"}[:1+r.IntN(3)])))...)
	it.Subject, it.From = pick(r, someWords())+" "+pick(r, someWords()), pick(r, someWords())+" <x@y.example>"
	it.Envelope.Sender = pick(r, []mail.Address{{}, {Local: "Bob", Domain: "evil.example"}, {Local: "ann", Domain: "good.example"}})
	it.MessageID = fmt.Sprintf("<%d@Host>", r.IntN(5))
	it.State = quarantine.Kept
	for i := range it.Copies {
		c := &it.Copies[i]
		c.Class, c.Rule = pick(r, []string{"virus", "spam", "spoof"}), pick(r, []string{"r1", "r2", "Rule-3"})
		c.Because, c.Score = "it says "+pick(r, someWords()), float64(r.IntN(5))/2
	}
	return it
}

// fact is what a field of a message holds, for one of its copies; marked are ids with a mark.
func fact(it *quarantine.Item, c *quarantine.Copy, visible []quarantine.Copy, marked map[string]string) func(string) any {
	return func(field string) any {
		to := c.Recipient.Address
		switch field {
		case "state":
			return search.Key(string(c.State))
		case "class":
			return search.Key(c.Class)
		case "rule":
			return search.Key(c.Rule)
		case "because":
			return search.Key(c.Because)
		case "score":
			return c.Score
		case "rcpt":
			return search.Key(to.String())
		case "rcpt.domain":
			return search.Key(to.Domain)
		case "sender":
			return search.Key(it.Envelope.Sender.String())
		case "sender.domain":
			return search.Key(it.Envelope.Sender.Domain)
		case "from":
			return search.Key(it.From)
		case "subject":
			return search.Key(it.Subject)
		case "client":
			return it.Envelope.Client.Addr.String()
		case "message_id":
			return search.Key(it.MessageID)
		case "size":
			return float64(it.Size)
		case "received":
			return it.Received
		case "expires":
			return it.Expires
		case "marked":
			_, ok := marked[it.ID]
			return ok
		case "who":
			return marked[it.ID]
		case search.Anything:
			all := []string{it.Subject, it.From, it.Envelope.Sender.String()}
			for i := range visible {
				all = append(all, visible[i].Recipient.Address.String(), visible[i].Because)
			}
			return search.Key(strings.Join(all, "\n"))
		}
		panic(field)
	}
}

func randomCondition(r *rand.Rand, depth int, start time.Time) *search.Condition {
	switch r.IntN(5) {
	case 0:
		if depth > 0 {
			return search.No(randomCondition(r, depth-1, start))
		}
	case 1, 2:
		if depth > 0 {
			a, b := randomCondition(r, depth-1, start), randomCondition(r, depth-1, start)
			return pick(r, []*search.Condition{search.All(a, b), search.Any(a, b), search.All(a, b, randomCondition(r, depth-1, start))})
		}
	}
	order := []search.Op{search.Equal, search.Less, search.AtMost, search.More, search.AtLeast}
	parts := []search.Op{search.Equal, search.Has, search.Begins, search.Ends}
	switch r.IntN(10) {
	case 0:
		return search.OfNumber("score", pick(r, order), float64(r.IntN(5))/2)
	case 1:
		return search.OfNumber("size", pick(r, order), float64(r.IntN(60)))
	case 2:
		return search.OfTime(pick(r, []string{"received", "expires"}), pick(r, order), start.Add(time.Duration(r.IntN(60*24))*time.Hour))
	case 3:
		return search.True("marked")
	case 4:
		return search.OfText("class", search.In, pick(r, [][]string{{"virus"}, {"virus", "spam"}, {"spam", "spam", "spoof"}})...)
	case 5:
		return search.OfText("rule", search.Equal, pick(r, []string{"r1", "R2", "rule-3", "none"}))
	case 6:
		return search.OfText(pick(r, []string{"rcpt", "rcpt.domain"}), pick(r, parts), pick(r, []string{"r0@a.example", "r1@B.example", "b.example", "a.example", "r", "@"}))
	case 7:
		return search.OfText(pick(r, []string{"sender", "sender.domain", "client", "message_id", "who"}), pick(r, parts),
			pick(r, []string{"", "bob@evil.example", "evil.example", "good.example", "192.0.2.1", "<1@host>", "ana"}))
	case 8:
		return search.OfText(pick(r, []string{"subject", "from", "because"}), pick(r, parts), pick(r, someWords()))
	}
	return search.OfText(search.Anything, search.Has, pick(r, append(someWords(), "r0@a", "evil", "it says")))
}

// What SQL finds is what the condition says of each copy that may be seen, however it is looked
// for, page by page, and counted.
func TestQueryIsWhatTheConditionSays(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	clock := quarantinetest.NewClock()
	dir := t.TempDir()
	var db *store.DB
	s := open(t, dir, clock, func(o *quarantine.Options) { db = o.DB })
	start := clock.Now()
	var items []*quarantine.Item
	for range 60 {
		it := quarantinetest.Hold(t, s, randomItem(r, start.Add(time.Duration(r.IntN(40*24))*time.Hour)), quarantinetest.Message(r.IntN(50)))
		switch r.IntN(8) {
		case 2:
			must(t, s.MarkSpam(t.Context(), it.ID, "x", it.Copies[0].Recipient.Address))
		case 0:
			must(t, s.Delete(t.Context(), it.ID, "x", it.Copies[0].Recipient.Address))
		case 1:
			_, err := s.StartRelease(t.Context(), it.ID, "x", it.Copies[0].Recipient.Address)
			must(t, err)
			must(t, s.FinishRelease(t.Context(), it.ID, r.IntN(2) == 0, "", it.Copies[0].Recipient.Address))
		}
		got, err := s.Get(t.Context(), it.ID)
		must(t, err)
		items = append(items, got)
	}
	marked := map[string]string{}
	must(t, db.Write(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Exec("CREATE TABLE marks (item TEXT PRIMARY KEY, who TEXT NOT NULL, kind TEXT NOT NULL)"); err != nil {
			return err
		}
		for _, it := range items[:25] {
			kind := pick(r, []string{"mine", "other"})
			if kind == "mine" {
				marked[it.ID] = "ana"
			}
			if _, err := tx.Exec("INSERT INTO marks VALUES (?, 'Ana', ?)", it.ID, kind); err != nil {
				return err
			}
		}
		return nil
	}))
	for round := range 1500 {
		q := quarantine.Query{Where: randomCondition(r, 3, start), Limit: 1 + r.IntN(20), State: pick(r, []quarantine.State{"", quarantine.Any, quarantine.Deleted, quarantine.Spam, quarantine.Kept})}
		q.Marks = map[string]quarantine.Mark{"marked": {Table: "marks", Where: "m.kind = ?", Args: []any{"mine"}, Few: r.IntN(2) == 0},
			"who": {Table: "marks", Where: "m.kind = ?", Args: []any{"mine"}, Value: "who"}}
		q.Only = pick(r, [][]string{nil, nil, {"r0@a.example"}, {"@b.example"}, {"r1@b.example", "@a.example"}, {"r0@a.example", "r2@b.example"}, {}})
		var want []string
		for _, it := range items {
			if fits(it, &q, marked) {
				want = append(want, it.ID)
			}
		}
		got := listed(t, s, q)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d, round %d: %v, state %q, only %v\n got %v\nwant %v", seed, round, q.Where, q.State, q.Only, got, want)
		}
		if total, err := s.CountUpTo(t.Context(), q, 10, 0); err != nil || total.N != min(len(want), 10) || total.More != (len(want) > 10) {
			t.Fatalf("seed %d: %v: counted %+v of %d, %v", seed, q.Where, total, len(want), err)
		}
	}
}

func fits(it *quarantine.Item, q *quarantine.Query, marked map[string]string) bool {
	var visible []quarantine.Copy
	for _, c := range it.Copies {
		a := c.Recipient.Address
		if q.Only == nil || slices.Contains(q.Only, strings.ToLower(a.String())) || slices.Contains(q.Only, "@"+strings.ToLower(a.Domain)) {
			visible = append(visible, c)
		}
	}
	for i := range visible {
		c := &visible[i]
		waits := c.State == quarantine.Kept || c.State == quarantine.Releasing
		if (q.State == quarantine.Any || q.State == c.State || q.State == "" && waits) && q.Where.Match(fact(it, c, visible, marked)) {
			return true
		}
	}
	return false
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listed gives the ids of all pages, and looks whether they come newest first and once.
func listed(t testing.TB, s *quarantine.Store, q quarantine.Query) (ids []string) {
	t.Helper()
	var last time.Time
	for {
		items, next, err := s.List(t.Context(), q)
		must(t, err)
		for _, it := range items {
			if !last.IsZero() && it.Received.After(last) || slices.Contains(ids, it.ID) {
				t.Fatalf("%v: %s out of order, or again", q.Where, it.ID)
			}
			last = it.Received
			ids = append(ids, it.ID)
			for _, c := range it.Copies {
				if a := c.Recipient.Address; q.Only != nil && !slices.Contains(q.Only, a.String()) && !slices.Contains(q.Only, "@"+strings.ToLower(a.Domain)) {
					t.Fatalf("only %v, but a copy for %s", q.Only, a)
				}
			}
			if q.Only != nil && len(it.Envelope.Recipients) != len(it.Copies) {
				t.Fatalf("only %v, but the envelope has %v", q.Only, it.Envelope.Recipients)
			}
		}
		if q.Cursor = next; next == "" {
			return ids
		}
	}
}

// W-07: nobody finds out by searching what became of somebody else's copy, or that there is one.
func TestW07_SearchTellsNothingOfOthers(t *testing.T) {
	clock := quarantinetest.NewClock()
	s := open(t, t.TempDir(), clock, nil)
	it := quarantinetest.Item(clock.Now(), "me@a.example", "secret@b.example")
	it.Copies[1].Class, it.Copies[1].Rule, it.Copies[1].Because, it.Copies[1].Score = "virus", "hush", "nobody may know", 99
	quarantinetest.Hold(t, s, it, quarantinetest.Message(10))
	must(t, s.Delete(t.Context(), it.ID, "boss", it.Copies[1].Recipient.Address))
	for _, where := range []string{`rcpt == "secret@b.example"`, `rcpt contains "secret"`, `rcpt.domain == "b.example"`, `secret`, `"nobody may know"`,
		`class == "virus"`, `rule == "hush"`, `because contains "nobody"`, `score > 50`, `state == "deleted"`, `text contains "hush"`} {
		c, err := rules.ParseSearch(where, quarantine.Fields(), clock.Now())
		must(t, err)
		for only, want := range map[string]int{"me@a.example": 0, "@a.example": 0, "": 1} {
			q := quarantine.Query{State: quarantine.Any, Where: c}
			if only != "" {
				q.Only = []string{only}
			} else if where == `text contains "hush"` {
				want = 0 // a rule is no word of the message
			}
			if n, err := s.Count(t.Context(), q); err != nil || n != want {
				t.Errorf("only %q, %s: %d items, %v", only, where, n, err)
			}
		}
	}
	items, _, err := s.List(t.Context(), quarantine.Query{State: quarantine.Any, Only: []string{"me@a.example"}})
	must(t, err)
	if text := fmt.Sprintf("%+v", items[0]); len(items) != 1 || strings.Contains(text, "secret") || strings.Contains(text, "boss") || items[0].State != quarantine.Kept {
		t.Errorf("told: %s", text)
	}
	groups, err := s.Counts(t.Context(), quarantine.Query{State: quarantine.Any, Only: []string{"me@a.example"}}, "rule")
	must(t, err)
	for _, g := range groups {
		if g.Value == "hush" {
			t.Error("the chips name a rule of somebody else's copy")
		}
	}
}

// W-11: what people write becomes parameters. None of it is an error of SQL, changes anything, or
// finds what it does not say.
func TestW11_SearchIsNoSQL(t *testing.T) {
	clock := quarantinetest.NewClock()
	s := open(t, t.TempDir(), clock, nil)
	quarantinetest.Hold(t, s, quarantinetest.Item(clock.Now(), "a@a.example"), quarantinetest.Message(10))
	attacks := []string{`' OR 1=1 --`, `x'; DROP TABLE items; --`, `" OR ""="`, `*`, `"abc" OR "def"`, `abc NOT def`, `abc*`, `^abc`, `NEAR(abc def)`, `words:abc`, `{words}: abc`,
		`-abc`, `a"b"c`, `\`, "%", "_", "abc\x00def", "\xff\xfe\xfd", `""""`, `?`, `?1`, `:name`, `$name`, `@name`, `(((`, `)`, strings.Repeat(`"`, 40), strings.Repeat("ab ", 19)}
	for _, a := range attacks {
		var conditions []*search.Condition
		if c, err := rules.ParseSearch(a, quarantine.Fields(), clock.Now()); err == nil {
			conditions = append(conditions, c)
		}
		for name, f := range quarantine.Fields() {
			for _, op := range []search.Op{search.Equal, search.Has, search.Begins, search.Ends} {
				if f.Type == search.Text && f.Is == "" && (name != search.Anything || op == search.Has) {
					conditions = append(conditions, search.OfText(name, op, a))
				}
			}
		}
		for _, c := range conditions {
			items, _, err := s.List(t.Context(), quarantine.Query{Where: c})
			if err != nil || len(items) > 0 && a != "_" && c != nil && c.Op == search.Equal {
				t.Errorf("%q as %v: %d items, %v", a, c, len(items), err)
			}
		}
		for _, q := range []quarantine.Query{{Class: a}, {Rule: a}, {Recipient: a}, {Sender: a}, {Subject: a}, {Text: a}, {SHA256: a}, {Only: []string{a}}, {Only: []string{"@" + a}}, {State: quarantine.State(a)}} {
			if items, _, err := s.List(t.Context(), q); err != nil || len(items) > 0 {
				t.Errorf("%+v: %d items, %v", q, len(items), err)
			}
		}
	}
	if n, err := s.Count(t.Context(), quarantine.Query{}); n != 1 || err != nil {
		t.Errorf("%d items are left, %v", n, err)
	}
	if _, err := s.Counts(t.Context(), quarantine.Query{}, "class; DROP TABLE items"); err == nil {
		t.Error("counted by anything")
	}
	if _, _, err := s.List(t.Context(), quarantine.Query{Where: search.True("unheard_of")}); err == nil || !strings.Contains(err.Error(), "unheard_of cannot be searched here") {
		t.Errorf("an unknown field: %v", err)
	}
}

// Chips tell how many a click would leave.
func TestCounts(t *testing.T) {
	clock := quarantinetest.NewClock()
	s := open(t, t.TempDir(), clock, nil)
	for i, class := range []string{"spam", "spam", "spam", "virus"} {
		it := quarantinetest.Item(clock.Now(), "a@a.example", "b@b.example")
		it.Copies[0].Class, it.Copies[1].Class, it.Copies[0].Rule, it.Copies[1].Rule = class, class, "r"+class, fmt.Sprint("s", i)
		quarantinetest.Hold(t, s, it, quarantinetest.Message(10))
	}
	told := func(q quarantine.Query, by string) string {
		groups, err := s.Counts(t.Context(), q, by)
		must(t, err)
		var out []string
		for _, g := range groups {
			if g.N > 0 {
				out = append(out, fmt.Sprint(g.Value, "=", g.N, map[bool]string{true: "+"}[g.More]))
			}
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		q        quarantine.Query
		by, want string
	}{
		{quarantine.Query{}, "class", "virus=1 spam=3"},
		{quarantine.Query{Class: "virus"}, "class", "virus=1 spam=3"},
		{quarantine.Query{Class: "virus"}, "state", "kept=1"},
		{quarantine.Query{}, "rule", "rspam=3 rvirus=1 s0=1 s1=1 s2=1 s3=1"},
		{quarantine.Query{Only: []string{"b@b.example"}}, "rule", "s0=1 s1=1 s2=1 s3=1"},
		{quarantine.Query{Only: []string{}}, "class", ""},
	} {
		if got := told(c.q, c.by); got != c.want {
			t.Errorf("%+v by %s: %s, want %s", c.q, c.by, got, c.want)
		}
	}
	if total, err := s.CountUpTo(t.Context(), quarantine.Query{}, 3, time.Nanosecond); err != nil || !total.More || total.N > 3 {
		t.Errorf("out of time: %+v, %v", total, err)
	}
}

// A quarantine of an earlier version is found by all that a new one is.
func TestQueriesOfAnOldQuarantine(t *testing.T) {
	first, err := os.ReadFile("schema/001_items.sql")
	must(t, err)
	dir := t.TempDir()
	db, err := store.Open(t.Context(), dir, store.Options{})
	must(t, err)
	must(t, db.Migrate(t.Context(), "quarantine", fs.FS(fstest.MapFS{"001_items.sql": {Data: first}})))
	must(t, db.Write(t.Context(), func(tx *store.Tx) error {
		for i, at := range []int64{5_000_000, 5_000_000, 5_000_001, 4_000_000} {
			id := fmt.Sprintf("OLD-%d", i)
			_, err := tx.Exec(`INSERT INTO items VALUES (?, ?, 'kept', 'bob@evil.example', 'evil.example', 'ПРИВЕТ You', 'Bob <b@evil.example>', 7, 7, '', 'p',
				1, 99999999999999, '', '', '{"client":{"addr":"192.0.2.9"}}', ?)`, id, at, "привет you\nbob <b@evil.example>\nbob@evil.example\na@a.example\nit is a Forgery")
			if err != nil {
				return err
			}
			if _, err = tx.Exec(`INSERT INTO copies VALUES (?, 0, 'a@a.example', 'a.example', '{"address":"a@a.example"}',
				'spoof', 'Rule', 'It is a Forgery', 1.5, 'kept', 1, '', '')`, id); err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, db.Close())
	s := open(t, dir, quarantinetest.NewClock(), nil)
	for _, where := range []string{`subject == "привет you"`, `from startsWith "bob <b"`, `forgery привет`, `rule == "rule" and client == "192.0.2.9"`, `class == "spoof" and score > 1 and size == 7`} {
		c, err := rules.ParseSearch(where, quarantine.Fields(), time.Now())
		must(t, err)
		q := quarantine.Query{Where: c, Limit: 2}
		if ids := listed(t, s, q); strings.Join(ids, " ") != "OLD-2 OLD-1 OLD-0 OLD-3" {
			t.Errorf("%s: %v", where, ids)
		}
	}
	must(t, s.Hold(t.Context(), quarantinetest.Item(time.UnixMicro(5_000_000), "a@a.example"), bytes.NewReader(nil)))
	must(t, s.Delete(t.Context(), "OLD-1", "x"))
	if ids := listed(t, s, quarantine.Query{}); strings.Join(ids, " ") != "OLD-2 OLD-0 OLD-3" {
		t.Errorf("%v", ids)
	}
}

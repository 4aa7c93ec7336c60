package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"
)

// A FunctionDoc describes a function that rules may call.
type FunctionDoc struct {
	Name      string `json:"name"`
	Signature string `json:"signature"`
	Doc       string `json:"doc"`
	Example   string `json:"example"`
	Result    string `json:"result"` // what the example gives
}

// A function is one entry of the table below: ours when call is set, else one of the
// expression language. All are pure and linear in what they are given.
type function struct {
	FunctionDoc
	call    func(t *tables, args []any) (any, error)
	kinds   []any                                      // pointers to funcs of its types
	literal int                                        // from which argument on only texts written in the rule are allowed; 0: none
	prepare func(c *compiler, i int, arg string) error // is given argument i when it is a text written in the rule
}

// functions is the table: add one here.
func functions() []function {
	return []function{
		{FunctionDoc{"inNetwork", "inNetwork(address, network, …) bool", "is the IP address in one of the networks?",
			`inNetwork("192.0.2.7", "10.0.0.0/8", "192.0.2.0/24")`, "true"}, inNetwork, []any{new(func(string, string, ...string) bool)}, 1, prepareNetwork},
		{FunctionDoc{"domainOf", "domainOf(address) string", "the domain of a mail address, in lower case",
			`domainOf("Ann@Example.ORG")`, "example.org"}, domainOf, []any{new(func(string) string)}, 0, nil},
		{FunctionDoc{"orgDomain", "orgDomain(domain) string", "the domain that was registered, by the public suffix list built in (DMARC itself walks the DNS tree)",
			`orgDomain("mail.example.co.uk")`, "example.co.uk"}, orgDomain, []any{new(func(string) string)}, 0, nil},
		{FunctionDoc{"isSubdomain", "isSubdomain(domain, parent) bool", "is the domain the parent itself, or below it?",
			`isSubdomain("mx.example.org", "example.org")`, "true"}, isSubdomain, []any{new(func(string, string) bool)}, 0, prepareParent},
		{FunctionDoc{"glob", "glob(text, pattern) bool", "does the pattern fit all of the text, in any case? * stands for any characters, ? for one",
			`glob("Invoice-77.PDF", "invoice-*.pdf")`, "true"}, glob, []any{new(func(string, string) bool)}, 1, preparePattern},
		{FunctionDoc{"matchesAny", "matchesAny(text, pattern, …) bool", "does one of the patterns fit, as glob tells?",
			`matchesAny("news@shop.example", "*@shop.example", "*@bank.example")`, "true"}, matchesAny, []any{new(func(string, string, ...string) bool)}, 1, preparePattern},
		{FunctionDoc{"hasWord", "hasWord(text, word) bool", "does the text have the word, whole and in any case?",
			`hasWord("Your Invoice, please", "invoice")`, "true"}, hasWord, []any{new(func(string, string) bool)}, 0, prepareWord},
		{FunctionDoc{"hasExtension", "hasExtension(name, extensions) bool", "does the file name end in one of the extensions, in any case? Dots and blanks behind it, which Windows drops, do not hide it",
			`hasExtension("Invoice.pdf.EXE. ", "bat exe scr")`, "true"}, hasExtension, []any{new(func(string, string) bool)}, 1, prepareExtensions},
		{FunctionDoc{"inList", "inList(value, file) bool", "is the address or domain in a file of entries? user@example.org is one address, @example.org all of a domain, .example.org a domain and all below it; # begins a comment",
			`inList("ann@mail.example.org", "partners.txt")`, "true"}, inList, []any{new(func(string, string) bool)}, 1, prepareList},
		{FunctionDoc{"distance", "distance(name, own, …) int", "how far a name or domain is from the nearest of ours, for look-alikes: 0 is one of ours (in any case), 1 looks the same (other alphabets, accents, 0 for o, rn for m) or differs by one letter, then the letters to insert, delete, replace or swap; 10 is nothing alike. xn-- labels are read; give it orgDomain(…) to compare domains without their hosts",
			`distance("examp1e.org", "example.org", "example.net")`, "1"}, nearest, []any{new(func(string, string, ...string) int)}, 1, prepareOwn},
		{FunctionDoc{"between", "between(moment, days, from, to, zone) bool", "is it one of the days, and from this time of day until before that one, by the clock of the zone? Over midnight it is the day on which the time began",
			`between(date("2026-12-01T07:30:00Z"), "Mon-Fri", "08:00", "18:00", "Europe/Berlin")`, "true"}, between, []any{new(func(time.Time, string, string, string, string) bool)}, 1, prepareBetween},
		{FunctionDoc{"age", "age(moment) duration", "how long before message.received it was (or before the moment that is the second argument); negative for the future, 0 where there is none",
			`age(date("2026-12-01"), date("2026-12-03")) > duration("36h")`, "true"}, age, []any{new(func(string, time.Time) time.Duration), new(func(time.Time, time.Time) time.Duration)}, 0, prepareMoment},

		lang("len", "len(text or list) int", "how long it is", `len(["a", "b"])`, "2"),
		lang("lower", "lower(text) string", "in lower case", `lower("ABC")`, "abc"),
		lang("upper", "upper(text) string", "in upper case", `upper("abc")`, "ABC"),
		lang("trim", "trim(text) string", "without the blanks around", `trim("  a ")`, "a"),
		lang("trimPrefix", "trimPrefix(text, start) string", "without its start", `trimPrefix("re: x", "re: ")`, "x"),
		lang("trimSuffix", "trimSuffix(text, end) string", "without its end", `trimSuffix("a.exe", ".exe")`, "a"),
		lang("split", "split(text, separator) list of string", "its pieces", `split("a,b", ",")[1]`, "b"),
		lang("indexOf", "indexOf(text, part) int", "where the part stands first, from 0; -1 when it does not", `indexOf("abc", "c")`, "2"),
		lang("any", "any(list, condition) bool", "does it hold for one of them? .field or # is the element", `any(["a.exe", "b.txt"], # endsWith ".exe")`, "true"),
		lang("all", "all(list, condition) bool", "does it hold for each of them?", `all([1, 2], # > 0)`, "true"),
		lang("none", "none(list, condition) bool", "does it hold for none of them?", `none([1, 2], # > 2)`, "true"),
		lang("one", "one(list, condition) bool", "does it hold for exactly one of them?", `one([1, 2], # > 1)`, "true"),
		lang("count", "count(list, condition) int", "for how many of them does it hold?", `count([1, 2, 3], # > 1)`, "2"),
		lang("filter", "filter(list, condition) list", "those for which it holds", `len(filter([1, 2, 3], # > 1))`, "2"),
		lang("sum", "sum(list of numbers) number", "what they add up to", `sum([1, 2, 3])`, "6"),
		lang("join", "join(list of text, separator) string", "them in one text", `join(["a", "b"], ", ")`, "a, b"),
		lang("lastIndexOf", "lastIndexOf(text, part) int", "where the part stands last, from 0; -1 when it does not", `lastIndexOf("abcabc", "c")`, "5"),
		lang("hasPrefix", "hasPrefix(text, start) bool", "as startsWith", `hasPrefix("abc", "ab")`, "true"),
		lang("hasSuffix", "hasSuffix(text, end) bool", "as endsWith", `hasSuffix("abc", "bc")`, "true"),
		lang("round", "round(number) number", "to the nearest whole number", `round(2.6)`, "3"),
		lang("floor", "floor(number) number", "to the whole number below", `floor(2.6)`, "2"),
		lang("ceil", "ceil(number) number", "to the whole number above", `ceil(2.2)`, "3"),
		lang("int", "int(text or number) int", "as a whole number", `int("12")`, "12"),
		lang("float", "float(text or number) float", "as a number", `float("1.5")`, "1.5"),
		lang("string", "string(number or bool) string", "as text", `string(12)`, "12"),
		lang("abs", "abs(number) number", "without its sign", `abs(-3)`, "3"),
		lang("max", "max(number, …) number", "the greatest", `max(1, 3, 2)`, "3"),
		lang("min", "min(number, …) number", "the smallest", `min(3, 1, 2)`, "1"),
		lang("date", "date(text) time", "a moment, to compare message.received with", `date("2026-12-01") < date("2026-12-02")`, "true"),
		lang("duration", "duration(text) duration", "a span of time", `duration("36h") > duration("24h")`, "true"),
	}
}

func lang(name, signature, doc, example, result string) function {
	return function{FunctionDoc: FunctionDoc{name, signature, doc, example, result}}
}

// Functions describes every function that rules may call.
func Functions() []FunctionDoc {
	var out []FunctionDoc
	for _, f := range functions() {
		out = append(out, f.FunctionDoc)
	}
	return out
}

func prepareNetwork(c *compiler, _ int, arg string) error {
	p, err := netip.ParsePrefix(arg)
	if err != nil {
		a, err := netip.ParseAddr(arg)
		if err != nil {
			return fmt.Errorf("%q is no network: write 192.0.2.0/24, 2001:db8::/32 or one address", arg)
		}
		p = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
	}
	c.networks[arg] = p.Masked()
	return nil
}

func inNetwork(t *tables, args []any) (any, error) {
	a, err := netip.ParseAddr(args[0].(string))
	if err != nil {
		return false, nil // what is no address is in no network
	}
	a = a.Unmap().WithZone("")
	for _, n := range args[1:] {
		if t.networks[n.(string)].Contains(a) {
			return true, nil
		}
	}
	return false, nil
}

func domainOf(_ *tables, args []any) (any, error) {
	s := args[0].(string)
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return "", nil
	}
	return strings.ToLower(strings.TrimRight(s[i+1:], " >.")), nil
}

func orgDomain(_ *tables, args []any) (any, error) {
	d := strings.ToLower(strings.TrimSuffix(args[0].(string), "."))
	if org, err := publicsuffix.EffectiveTLDPlusOne(d); err == nil {
		return org, nil
	}
	return d, nil // a public suffix itself, or no domain
}

func isSubdomain(_ *tables, args []any) (any, error) {
	d, parent := strings.TrimSuffix(args[0].(string), "."), strings.Trim(args[1].(string), ".")
	cut := len(d) - len(parent)
	return parent != "" && cut >= 0 && strings.EqualFold(d[cut:], parent) && (cut == 0 || d[cut-1] == '.'), nil
}

// maxPattern bounds the pattern of glob, whose cost is at most its length times the text's.
const maxPattern = 200

func preparePattern(_ *compiler, _ int, arg string) error {
	if arg == "" {
		return errors.New("the pattern is empty")
	}
	if len(arg) > maxPattern {
		return fmt.Errorf("a pattern has at most %d characters", maxPattern)
	}
	return nil
}

func glob(_ *tables, args []any) (any, error) {
	return fits(args[0].(string), args[1].(string)), nil
}

func matchesAny(_ *tables, args []any) (any, error) {
	for _, p := range args[1:] {
		if fits(args[0].(string), p.(string)) {
			return true, nil
		}
	}
	return false, nil
}

// fits tells whether all of s fits pattern p. Only the last star is ever tried again, so
// that the cost is bounded by the product of the lengths.
func fits(s, p string) bool {
	i, j, star, mark := 0, 0, -1, 0
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		pr, pn := utf8.DecodeRuneInString(p[j:])
		switch {
		case j < len(p) && pr == '*':
			star, mark, j = j, i, j+1
		case j < len(p) && (pr == '?' || pr == r || fold(pr) == fold(r)):
			i, j = i+n, j+pn
		case star >= 0:
			_, n = utf8.DecodeRuneInString(s[mark:])
			mark += n
			i, j = mark, star+1
		default:
			return false
		}
	}
	return strings.Trim(p[j:], "*") == ""
}

func fold(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }

func hasWord(_ *tables, args []any) (any, error) {
	s, word := strings.ToLower(args[0].(string)), strings.ToLower(args[1].(string))
	if word == "" {
		return false, nil
	}
	for from := 0; ; {
		i := strings.Index(s[from:], word)
		if i < 0 {
			return false, nil
		}
		i += from
		before, _ := utf8.DecodeLastRuneInString(s[:i])
		after, _ := utf8.DecodeRuneInString(s[i+len(word):])
		if !inWord(before) && !inWord(after) {
			return true, nil
		}
		from = i + len(word)
	}
}

// inWord: the utf8.RuneError at either end of a text is no letter.
func inWord(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_')
}

func prepareExtensions(c *compiler, _ int, arg string) error {
	set := make(map[string]struct{})
	for ext := range strings.FieldsSeq(arg) {
		if strings.ContainsAny(ext, ".,*") {
			return fmt.Errorf("%q is no extension: write them without dots, with blanks between", ext)
		}
		set[strings.ToLower(ext)] = struct{}{}
	}
	c.extensions[arg] = set
	return nil
}

// prepareParent looks at a parent domain that is written out.
func prepareParent(_ *compiler, _ int, arg string) error {
	if d := strings.TrimPrefix(strings.TrimSpace(arg), "*."); d != arg || strings.ContainsAny(arg, "*@/ ") || arg == "" {
		return &hinted{fmt.Sprintf("%q is no domain", arg), "write example.org for it and all below it"}
	}
	return nil
}

func prepareWord(_ *compiler, i int, arg string) error {
	if i == 1 && strings.TrimSpace(arg) == "" {
		return errors.New("the word is empty")
	}
	return nil
}

// maxExtension is longer than any extension that something opens.
const maxExtension = 64

func hasExtension(t *tables, args []any) (any, error) {
	name := strings.TrimRightFunc(args[0].(string), func(r rune) bool { return r == '.' || r <= ' ' || unicode.IsSpace(r) })
	ext := name[strings.LastIndexByte(name, '.')+1:]
	if len(ext) == len(name) || len(ext) > maxExtension {
		return false, nil
	}
	_, ok := t.extensions[args[1].(string)][strings.ToLower(ext)]
	return ok, nil
}

var errNoList = errors.New("the file is not loaded")

func inList(t *tables, args []any) (any, error) {
	l, ok := t.lists[args[1].(string)]
	if !ok {
		return nil, errNoList
	}
	return l.has(args[0].(string)), nil
}

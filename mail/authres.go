package mail

// An AuthResult is one method's entry in Authentication-Results (RFC 8601 2.2), as plain
// values: whoever writes the field quotes and folds them. Facts with results to stamp have
// the method
//
//	AuthResults() []AuthResult
type AuthResult struct {
	Method  string // "spf", "dkim", "dmarc"
	Result  string // a word of that method: pass, fail, …
	Comment string // for people, right behind the result: "p=reject"; "" for none
	Reason  string // for people: why; "" for none
	Props   []AuthProp
}

// An AuthProp is one property of an AuthResult: type.name=value. The value is any text, an
// address as Address.String gives it.
type AuthProp struct {
	Type  string // "smtp", "header", "policy"
	Name  string
	Value string
}

package mail

// An AuthResult is one method's entry in Authentication-Results (RFC 8601 2.2).
type AuthResult struct {
	Method string // "spf", "dkim", "dmarc"
	Result string
	Reason string
	Props  []AuthProp
}

// An AuthProp is one property of an AuthResult: type.name=value.
type AuthProp struct {
	Type  string // "smtp", "header", "policy"
	Name  string
	Value string
}

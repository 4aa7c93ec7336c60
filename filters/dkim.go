package filters

import (
	"context"
	"time"

	"postern/mail"
)

// DKIMConfig bounds the work that DKIM takes.
type DKIMConfig struct {
	MaxSignatures int // verified of one message; 0 means 5
}

// Results of a signature and of a message (RFC 8601 2.7.1). "neutral" is not used: a
// signature that cannot be processed is a permerror, one that we do not want to is policy,
// so that each word says whose doing it is.
const (
	dkimNone      = "none"
	dkimPass      = "pass"
	dkimFail      = "fail"
	dkimPolicy    = "policy"
	dkimTemperror = "temperror"
	dkimPermerror = "permerror"
)

// DKIMFacts are what the DKIM signatures of a message say.
type DKIMFacts struct {
	Error      string          `expr:"error" json:"error,omitempty" doc:"Why there is no answer; empty when there is one."`
	Result     string          `expr:"result" json:"result" doc:"pass when any signature passes, else the weightiest of temperror, fail, policy, permerror; none without a signature." enum:"none pass fail policy temperror permerror"`
	Reason     string          `expr:"reason" json:"reason" doc:"Why the result is no pass, in words; empty for pass and none."`
	Domains    []string        `expr:"domains" json:"domains" doc:"Domains (d=) of the signatures that pass, each once." case:"lower" example:"\"example.net\" in dkim.domains"`
	Count      int             `expr:"count" json:"count" doc:"Number of DKIM-Signature fields in the header."`
	Signatures []DKIMSignature `expr:"signatures" json:"signatures" doc:"The signatures, those that pass first; 16 at most."`
}

// DKIMSignature is one DKIM-Signature field and what became of it.
type DKIMSignature struct {
	Result     string   `expr:"result" json:"result" doc:"pass, fail, policy, temperror or permerror." enum:"none pass fail policy temperror permerror"`
	Reason     string   `expr:"reason" json:"reason" doc:"Why it does not pass, in words."`
	Domain     string   `expr:"domain" json:"domain" doc:"Signing domain (d=) in lower case and A-labels; empty when it is none." case:"lower"`
	Selector   string   `expr:"selector" json:"selector" doc:"Selector (s=) in lower case and A-labels."`
	Identity   string   `expr:"identity" json:"identity" doc:"Agent or user (i=); empty when the signature has none."`
	Algorithm  string   `expr:"algorithm" json:"algorithm" doc:"Algorithm (a=): rsa-sha256 or ed25519-sha256 for those that can pass."`
	KeyBits    int      `expr:"key_bits" json:"key_bits" doc:"Size of the public key in bits; 0 when none was found."`
	Testing    bool     `expr:"testing" json:"testing" doc:"The key record says that the domain is only testing DKIM (t=y)."`
	Signed     []string `expr:"signed" json:"signed" doc:"Names of the header fields that it covers (h=), in lower case."`
	Oversigned bool     `expr:"oversigned" json:"oversigned" doc:"It covers one From more than the message has, so that none can be added."`
	Extra      []string `expr:"extra" json:"extra" doc:"Covered fields of which the message has more than the signature covers, such as a second Subject on top."`
	Limited    bool     `expr:"limited" json:"limited" doc:"It covers only the first bytes of the body (l=); such a signature never passes."`
	SignedAt   int      `expr:"signed_at" json:"signed_at" doc:"When it was made (t=), seconds since 1970; 0 when it does not say."`
	Expires    int      `expr:"expires" json:"expires" doc:"When it expires (x=), seconds since 1970; 0 when it does not say."`
	Age        int      `expr:"age_seconds" json:"age_seconds" doc:"Seconds from its making to the message's arrival; -1 when it does not say."`
	B          string   `expr:"b" json:"b" doc:"First characters of the signature (b=), as Authentication-Results shows them."`
	ID         string   `expr:"id" json:"id" doc:"Short hash of the signature: the same signature seen again is a replay or another copy."`
}

// AuthResults gives the entries for Authentication-Results.
func (f DKIMFacts) AuthResults() []mail.AuthResult {
	if len(f.Signatures) == 0 {
		return []mail.AuthResult{{Method: "dkim", Result: f.Result, Reason: f.Reason}}
	}
	out := make([]mail.AuthResult, 0, len(f.Signatures))
	for _, s := range f.Signatures {
		r := mail.AuthResult{Method: "dkim", Result: s.Result, Reason: s.Reason, Props: make([]mail.AuthProp, 0, 5)}
		for _, p := range [...]mail.AuthProp{
			{Type: "header", Name: "d", Value: s.Domain},
			{Type: "header", Name: "i", Value: s.Identity},
			{Type: "header", Name: "s", Value: s.Selector},
			{Type: "header", Name: "a", Value: s.Algorithm},
			{Type: "header", Name: "b", Value: s.B}, // RFC 6008
		} {
			if p.Value != "" {
				r.Props = append(r.Props, p)
			}
		}
		out = append(out, r)
	}
	return out
}

// dkim verifies the DKIM signatures of a message while it arrives (RFC 6376, 8301, 8463, 8616).
func dkim(c DKIMConfig, r Resolver) Filter {
	v := newDKIMVerifier(c, r)
	return Filter{Name: "dkim", Cost: Answers, Doc: "The signatures of the message, and whose they are (DKIM, RFC 6376).",
		Stage: mail.Data, Facts: DKIMFacts{}, OnFail: Unknown, Timeout: 20 * time.Second, Quick: remembers(r),
		Gather: func(ctx context.Context, in *Input) (any, error) { return v.verify(ctx, in) }}
}

package gateway

import (
	"errors"
	"fmt"

	"postern/mail"
	"postern/rules"
)

// Replies by name. Nobody changes what they point to. Faults of ours and of our neighbours
// are 4xx, always; what they say is for strangers.
var (
	replyLater        = &mail.Reply{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "Try again later"}
	replyTooSlow      = &mail.Reply{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "Checking took too long, try again later"}
	replyUnreachable  = &mail.Reply{Code: 451, Enhanced: [3]int{4, 4, 1}, Text: "The mail server behind this gateway does not answer, try again later"}
	replyUncertain    = &mail.Reply{Code: 451, Enhanced: [3]int{4, 4, 2}, Text: "The mail server behind this gateway broke off, try again later"}
	replyBroken       = &mail.Reply{Code: 451, Enhanced: [3]int{4, 4, 2}, Text: "The message broke off"}
	replyFull         = &mail.Reply{Code: 452, Enhanced: [3]int{4, 3, 1}, Text: "Out of space, try again later"}
	replyTooMany      = &mail.Reply{Code: 452, Enhanced: [3]int{4, 5, 3}, Text: "Too many recipients"}
	replySplit        = &mail.Reply{Code: 451, Enhanced: [3]int{4, 5, 3}, Text: "Another policy for this recipient, send it separately"}
	replyNotOurs      = &mail.Reply{Code: 550, Enhanced: [3]int{5, 7, 1}, Text: "Relaying denied"}
	replyAmbiguousTo  = &mail.Reply{Code: 553, Enhanced: [3]int{5, 1, 3}, Text: "Ambiguous recipient address"}
	replyTooBig       = &mail.Reply{Code: 552, Enhanced: [3]int{5, 3, 4}, Text: "Message too big"}
	replyHeaderTooBig = &mail.Reply{Code: 554, Enhanced: [3]int{5, 6, 0}, Text: "Header section too big"}
	replyBareNewline  = &mail.Reply{Code: 550, Enhanced: [3]int{5, 5, 2}, Text: "Bare CR or LF in the message (RFC 5321 2.3.8)"}
	replyNUL          = &mail.Reply{Code: 550, Enhanced: [3]int{5, 6, 0}, Text: "NUL in the message"}
	replyLoop         = &mail.Reply{Code: 554, Enhanced: [3]int{5, 4, 6}, Text: "Mail loop: too many hops"}
	replyOurself      = &mail.Reply{Code: 451, Enhanced: [3]int{4, 4, 6}, Text: "Mail loop: you call yourself what this server is called"}
	replyNotTaken     = &mail.Reply{Code: 451, Enhanced: [3]int{4, 3, 5}, Text: "A copy of this mail cannot be delivered at the moment, try again later"}
	replyThrottled    = &mail.Reply{Code: 451, Enhanced: [3]int{4, 7, 1}, Text: "Too much mail at the moment, try again later"}
	replyNoRequireTLS = &mail.Reply{Code: 550, Enhanced: [3]int{5, 7, 30}, Text: "REQUIRETLS is not supported on the way to this destination"}
	replyNoUTF8       = &mail.Reply{Code: 550, Enhanced: [3]int{5, 6, 7}, Text: "SMTPUTF8 is not supported for this domain"}
	replyNoParameter  = &mail.Reply{Code: 555, Enhanced: [3]int{5, 5, 4}, Text: "Parameter not offered"}
	replyNeedsTLS     = &mail.Reply{Code: 530, Enhanced: [3]int{5, 7, 0}, Text: "STARTTLS first"}
	replyNoRecipient  = &mail.Reply{Code: 503, Enhanced: [3]int{5, 5, 1}, Text: "RCPT first"}
	replyAllRefused   = &mail.Reply{Code: 554, Enhanced: [3]int{5, 5, 1}, Text: "No valid recipients"}
	replyAllDeferred  = &mail.Reply{Code: 451, Enhanced: [3]int{4, 5, 1}, Text: "No valid recipients for now"}
	replyNotSent      = &mail.Reply{Code: 451, Enhanced: [3]int{4, 5, 1}, Text: "Not sent, since another recipient was refused; try again"}
	replyHarvest      = &mail.Reply{Code: 421, Enhanced: [3]int{4, 7, 0}, Text: "Too many unknown recipients from your address, try again later"}
	replyBusy         = &mail.Reply{Code: 451, Enhanced: [3]int{4, 3, 2}, Text: "Too busy to check mail at the moment, try again later"}
	replyClosing      = &mail.Reply{Code: 421, Enhanced: [3]int{4, 3, 2}, Text: "Closing"}
)

// maxText leaves room for codes on a reply line of 512 bytes.
const maxText = 400

// safeReply gives the one reply for any error. A *mail.Reply in it (the internal server's, or
// one of ours) keeps its class, with text made safe; everything else is our fault and says
// nothing but that.
func safeReply(err error) *mail.Reply {
	var r *mail.Reply
	if !errors.As(err, &r) || r == nil {
		return replyLater
	}
	return clean(r)
}

// clean makes a reply safe to say: printable text, an enhanced code of the right class, and a
// code that means to the client what it meant to us.
func clean(r *mail.Reply) *mail.Reply {
	code := r.Code
	switch {
	case code >= 200 && code <= 299:
		code = 250
	case code == 421 || code == 530: // to us, about our connection: no business of the client
		return replyLater
	case code < 400 || code > 599:
		return replyLater
	}
	out := &mail.Reply{Code: code, Enhanced: r.Enhanced, Text: mail.Printable(r.Text, maxText)}
	if e := out.Enhanced; e[0] != code/100 || e[1] < 0 || e[1] > 999 || e[2] < 0 || e[2] > 999 {
		out.Enhanced = [3]int{code / 100, 0, 0}
	}
	if out.Text == "" {
		out.Text = map[int]string{2: "OK", 4: "Try again later", 5: "Refused"}[code/100]
	}
	return out
}

// refusal is what the client reads of a verdict that refuses: the rule's own words, or its
// reason with the id to ask about.
func refusal(v *rules.Verdict, id string) *mail.Reply {
	want, r := 5, mail.Reply{Code: 550, Enhanced: [3]int{5, 7, 1}, Text: "Refused by policy"}
	if v.Do == rules.Defer {
		want, r = 4, *replyLater
	}
	if v.Reply != nil && v.Reply.Code/100 == want {
		return clean(v.Reply)
	}
	if v.Because != "" {
		r.Text = mail.Printable(v.Because, maxText-40)
	}
	r.Text = fmt.Sprintf("%s (%s)", r.Text, id)
	return &r
}

// Answer is what the client reads when this verdict is that of the whole message and the
// internal server is not asked: the rule's own words, or ours with the id to ask about.
func Answer(v *rules.Verdict, id string) *mail.Reply {
	switch {
	case v.Do == rules.Reject || v.Do == rules.Defer:
		return refusal(v, id)
	case v.Reply != nil && v.Reply.OK():
		return clean(v.Reply)
	}
	return accepted(id)
}

// accepted is our own 250, with the id to ask about.
func accepted(id string) *mail.Reply {
	return &mail.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "OK " + id}
}

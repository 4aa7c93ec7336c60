package gateway

import (
	"time"

	"postern/mail"
)

// Who names many recipients that do not exist is after the addresses that do (S-46). They are
// counted for a network over its connections and come back with time; each copy that is delivered
// gives one back, so that a large list with some dead addresses is no harvester. The answers get
// slower first, then there are none.

// patience is the share of Limits.UnknownRcpts after which answers get slower, by slowStep for each
// more, up to slowMost.
const (
	patience = 5
	slowStep = 100 * time.Millisecond
	slowMost = 5 * time.Second
)

// unknown reports whether a reply to RCPT says that there is no such address: the address is
// wrong (RFC 3463 3.2), no host takes it (5.4.1, of directories at the edge), it leads nowhere (5.2.4,
// as OpenSMTPD has it), or the internal server refused it without saying more.
func (r *recipient) unknown(reply *mail.Reply) bool {
	if reply == nil || reply.Code/100 != 5 {
		return false
	}
	switch e := reply.Enhanced; {
	case e[1] == 1:
		return true
	case r.upstream == nil:
		return false
	default:
		return e == [3]int{5, 4, 1} || e == [3]int{5, 2, 4} || e[1] == 0 && e[2] == 0 && (reply.Code == 550 || reply.Code == 551 || reply.Code == 553)
	}
}

// harvesting counts an unknown recipient, and gives the reply that the client gets, after a while
// when there were many.
func (t *transaction) harvesting(r *recipient, reply *mail.Reply) *mail.Reply {
	if !t.suspect() || !r.unknown(reply) {
		return reply
	}
	wait, over := t.g.front.doors.unknown(t.env.Client.Addr, time.Now())
	if over {
		t.g.log.Warn("many unknown recipients: the client is sent away for a while", "client", t.env.Client.Addr.String(), "id", t.env.ID)
		t.note("sent away", "many unknown recipients")
		return replyHarvest
	}
	if wait > 0 {
		t.note("slowed down", "many unknown recipients")
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-t.ctx.Done():
		}
	}
	return reply
}

// suspect reports whether the client may turn out to be a harvester. One whose address XCLIENT does
// not know shares its want of one with strangers: nobody is sent away for them.
func (t *transaction) suspect() bool {
	return !t.env.Client.Trusted && t.env.Client.Addr.IsValid()
}

// sentAway reports whether the client is known as a harvester, by another connection perhaps.
func (t *transaction) sentAway() bool {
	return t.suspect() && t.g.front.doors.harvester(t.env.Client.Addr, time.Now())
}

// vouch gives the client back as many unknown recipients as it has brought copies that were
// delivered.
func (t *transaction) vouch(rcpts []*recipient) {
	n := 0
	for _, r := range rcpts {
		if r.taken() {
			n++
		}
	}
	if n > 0 && t.suspect() {
		t.g.front.doors.vouch(t.env.Client.Addr, time.Now(), n)
	}
}

package journal

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"postern/mail"
)

// Bounds of what Delivered looks at, newest first.
const (
	pastEntries = 2000 // of the sender
	pastOpened  = 200  // of those that went to the recipient
	pastCount   = 100
)

// pastQuery comes from the sender's side, for that is bounded; CROSS JOIN keeps SQLite to this order.
const pastQuery = `WITH mine (seq) AS MATERIALIZED
	(SELECT seq FROM entries WHERE sender = ? AND seq < ? ORDER BY seq DESC LIMIT ?)
	SELECT e.seq, e.proven, e.detail FROM mine CROSS JOIN recipients r CROSS JOIN entries e
	WHERE r.rcpt = ? AND r.entry = mine.seq AND r.do = 'deliver' AND e.seq = mine.seq
	ORDER BY mine.seq DESC LIMIT ?`

// Delivered tells of mail that one envelope sender had sent to a recipient before a moment: how
// many messages (100 at most), the oldest and the newest of them. Only those count that were
// delivered and in which it was proven who sent them: SPF passed for the sender's domain, by a
// record that does not pass everybody, or DMARC did for the same domain. It looks at the sender's
// last 2,000 messages; none counts for the null sender. What was recorded in this moment may not
// be seen yet.
func (s *Store) Delivered(ctx context.Context, from, to mail.Address, before time.Time) (count int, first, last time.Time, err error) {
	if from.IsNull() {
		return 0, first, last, nil
	}
	rows, err := s.o.DB.Reader().QueryContext(ctx, pastQuery, key(from), before.UnixMicro(), pastEntries, key(to), pastOpened)
	if err != nil {
		return 0, first, last, fmt.Errorf("what %s sent before: %w", from, err)
	}
	defer rows.Close()
	var plain []byte
	for rows.Next() && count < pastCount {
		var seq, known int64
		var detail sql.RawBytes
		if err := rows.Scan(&seq, &known, &detail); err != nil {
			return 0, first, last, fmt.Errorf("what %s sent before: %w", from, err)
		}
		if known < 0 { // written by an earlier postern
			r := Record{detail: detail}
			if plain, err = r.open(plain); err != nil {
				return 0, first, last, fmt.Errorf("what %s sent before: entry %d: %w", from, seq, err)
			}
			if !r.proves(from.Domain) {
				continue
			}
		} else if known == 0 {
			continue
		}
		first = time.UnixMicro(seq).UTC()
		if count++; count == 1 {
			last = first
		}
	}
	if err := rows.Err(); err != nil {
		return 0, time.Time{}, time.Time{}, fmt.Errorf("what %s sent before: %w", from, err)
	}
	return count, first, last, nil
}

// proven reports whether facts say that the domain of the envelope sender sent the message.
func proven(e *Entry) bool {
	domain := e.Envelope.Sender.Domain
	return domain != "" && (proves(Raw(e.Facts["spf"]), domain) || proves(Raw(e.Facts["dmarc"]), domain))
}

// proves is proven of an entry that was read.
func (r *Record) proves(domain string) bool {
	for name, facts := range r.Facts.Members() {
		if (string(name) == "spf" || string(name) == "dmarc") && proves(facts, domain) {
			return true
		}
	}
	return false
}

// proves reports whether facts of spf or dmarc say that a domain sent the message.
func proves(facts Raw, domain string) bool {
	pass, of, permissive := false, "", false
	for name, v := range facts.Members() {
		switch string(name) {
		case "result":
			pass = string(v) == `"pass"`
		case "domain":
			of = v.Text()
		case "permissive":
			permissive = string(v) == "true"
		}
	}
	return pass && !permissive && strings.EqualFold(of, domain)
}

// Oldest is when the oldest entry came; the zero time when there is none.
func (s *Store) Oldest(ctx context.Context) (at time.Time, err error) {
	var seq sql.NullInt64
	if err := s.o.DB.Reader().QueryRowContext(ctx, "SELECT min(seq) FROM entries").Scan(&seq); err != nil || !seq.Valid {
		return at, err
	}
	return time.UnixMicro(seq.Int64).UTC(), nil
}

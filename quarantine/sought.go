package quarantine

import (
	"strings"

	"postern/search"
	"postern/store"
)

// sameTime is how far an item's place may be moved on from its time of receipt, in microseconds.
const sameTime = 1_000_000

// freeSeq is the time of receipt, or the first free one behind it.
func freeSeq(tx *store.Tx, received int64) (seq int64, err error) {
	err = tx.Get(`SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM items WHERE seq = ?1) THEN ?1 ELSE
		(SELECT min(a.seq) + 1 FROM items a WHERE a.seq BETWEEN ?1 AND ?2 AND NOT EXISTS (SELECT 1 FROM items b WHERE b.seq = a.seq + 1)) END`,
		[]any{received, received + sameTime}, &seq)
	return seq, err
}

// index writes what the item is found by. Triggers keep that in step afterwards.
func (it *Item) index(tx *store.Tx, seq int64) error {
	text := func(s string) string { return search.Key(store.Clean(s, maxText)) }
	subject, from, sender := text(it.Subject), text(it.From), key(it.Envelope.Sender)
	var words strings.Builder
	add := func(s string) { words.WriteString(s + "\n") }
	add(subject)
	add(from)
	add(sender)
	before := ""
	for n := range it.Copies {
		c := &it.Copies[n]
		rcpt, because := key(c.Recipient.Address), text(c.Because)
		if add(rcpt); because != before {
			add(because)
			before = because
		}
		_, err := tx.Exec("INSERT INTO sought VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			1, seq, n, len(it.Copies), it.ID, c.State, text(c.Class), text(c.Rule), rcpt, domain(c.Recipient.Address),
			sender, domain(it.Envelope.Sender), it.Envelope.Client.Addr.String(), text(it.MessageID), micro(it.Received), micro(it.Expires),
			it.Size, c.Score, subject, from, because)
		if err != nil {
			return err
		}
	}
	_, err := tx.Exec("INSERT INTO sought_words (rowid, words) VALUES (?, ?)", seq, words.String())
	return err
}

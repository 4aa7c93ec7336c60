CREATE INDEX copies_rcpt ON copies (rcpt, item);
CREATE INDEX copies_rule ON copies (rule, item);
CREATE INDEX items_expires ON items (expires);
CREATE INDEX items_received ON items (received, id);
CREATE INDEX items_sender ON items (sender, received);
CREATE INDEX items_sha256 ON items (sha256);
CREATE INDEX items_state ON items (state, received, id);
CREATE TABLE clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE copies (
	item    TEXT NOT NULL REFERENCES items (id) ON DELETE CASCADE,
	n       INTEGER NOT NULL,
	rcpt    TEXT NOT NULL,
	domain  TEXT NOT NULL,
	said    TEXT NOT NULL, -- mail.RcptTo as JSON
	class   TEXT NOT NULL,
	rule    TEXT NOT NULL,
	because TEXT NOT NULL,
	score   REAL NOT NULL,
	state   TEXT NOT NULL,
	changed INTEGER NOT NULL,
	by_whom TEXT NOT NULL,
	note    TEXT NOT NULL,
	PRIMARY KEY (item, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE items (
	id            TEXT PRIMARY KEY,
	received      INTEGER NOT NULL,
	state         TEXT NOT NULL,
	sender        TEXT NOT NULL,
	sender_domain TEXT NOT NULL,
	subject       TEXT NOT NULL,
	from_text     TEXT NOT NULL,
	size          INTEGER NOT NULL,
	stored        INTEGER NOT NULL, -- bytes of its file; 0 when that is gone
	sha256        TEXT NOT NULL,
	policy        TEXT NOT NULL,
	changed       INTEGER NOT NULL,
	expires       INTEGER NOT NULL,
	by_whom       TEXT NOT NULL,
	note          TEXT NOT NULL,
	envelope      TEXT NOT NULL, -- JSON
	words         TEXT NOT NULL  -- what Text searches, in lower case
) STRICT;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
CREATE TABLE usage (one INTEGER PRIMARY KEY CHECK (one = 1), items INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;

CREATE INDEX items_expires ON items (expires);
CREATE UNIQUE INDEX items_seq ON items (seq);
CREATE INDEX items_sha256 ON items (sha256);
CREATE INDEX sought_class ON sought (class);
CREATE INDEX sought_client ON sought (client);
CREATE INDEX sought_domain ON sought (domain);
CREATE INDEX sought_expires ON sought (expires);
CREATE INDEX sought_message_id ON sought (message_id);
CREATE INDEX sought_rcpt ON sought (rcpt);
CREATE INDEX sought_rule ON sought (rule);
CREATE INDEX sought_sender ON sought (sender);
CREATE INDEX sought_sender_domain ON sought (sender_domain);
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
	seq INTEGER NOT NULL DEFAULT 0, message_id TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
CREATE TABLE sought (
	bin           INTEGER NOT NULL, -- of the copy: 1 waits for somebody (or is not visible yet: held), 2 does not
	seq           INTEGER NOT NULL, -- items.seq
	n             INTEGER NOT NULL, -- copies.n
	many          INTEGER NOT NULL, -- how many copies the item has
	item          TEXT NOT NULL,
	state         TEXT NOT NULL,    -- of the copy
	class         TEXT NOT NULL,
	rule          TEXT NOT NULL,
	rcpt          TEXT NOT NULL,
	domain        TEXT NOT NULL,
	sender        TEXT NOT NULL,
	sender_domain TEXT NOT NULL,
	client        TEXT NOT NULL,
	message_id    TEXT NOT NULL,
	received      INTEGER NOT NULL,
	expires       INTEGER NOT NULL,
	size          INTEGER NOT NULL,
	score         REAL NOT NULL,
	subject       TEXT NOT NULL,
	from_text     TEXT NOT NULL,
	because       TEXT NOT NULL,
	PRIMARY KEY (bin, seq, n)
) STRICT, WITHOUT ROWID;
CREATE VIRTUAL TABLE sought_words USING fts5 (words, content = '', contentless_delete = 1, detail = none,
	tokenize = 'trigram case_sensitive 1');
CREATE TABLE 'sought_words_config'(k PRIMARY KEY, v) WITHOUT ROWID;
CREATE TABLE 'sought_words_data'(id INTEGER PRIMARY KEY, block BLOB);
CREATE TABLE 'sought_words_docsize'(id INTEGER PRIMARY KEY, sz BLOB, origin INTEGER);
CREATE TABLE 'sought_words_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID;
CREATE TABLE usage (one INTEGER PRIMARY KEY CHECK (one = 1), items INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
CREATE TRIGGER copies_state AFTER UPDATE OF state ON copies WHEN NEW.state <> OLD.state BEGIN
	UPDATE sought SET state = NEW.state, bin = CASE WHEN NEW.state IN ('held', 'kept', 'releasing') THEN 1 ELSE 2 END
		WHERE bin IN (1, 2) AND seq = (SELECT seq FROM items WHERE id = NEW.item) AND n = NEW.n;
END;
CREATE TRIGGER items_deleted AFTER UPDATE OF state ON items WHEN NEW.state = 'deleted' AND NEW.state <> OLD.state BEGIN
	UPDATE sought SET state = 'deleted', bin = 2 WHERE bin = 1 AND seq = NEW.seq;
END;
CREATE TRIGGER items_removed AFTER DELETE ON items BEGIN
	DELETE FROM sought WHERE bin IN (1, 2) AND seq = OLD.seq;
	DELETE FROM sought_words WHERE rowid = OLD.seq;
END;

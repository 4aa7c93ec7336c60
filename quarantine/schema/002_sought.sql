-- What people search by stands apart from what they are shown: small, in lower case, a row for
-- each copy, in the order in which lists are read. Triggers keep it in step.
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

-- The time of receipt, moved on where that is taken.
ALTER TABLE items ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
UPDATE items SET seq = placed.seq FROM (
	SELECT id, place + max(received - place) OVER (ORDER BY place) AS seq FROM
		(SELECT id, received, row_number() OVER (ORDER BY received, id) AS place FROM items)) AS placed
	WHERE placed.id = items.id;
CREATE UNIQUE INDEX items_seq ON items (seq);

-- Of words, subject is the first line and From the second.
INSERT INTO sought SELECT
	CASE WHEN c.state IN ('held', 'kept', 'releasing') THEN 1 ELSE 2 END,
	i.seq, c.n, (SELECT count(*) FROM copies o WHERE o.item = i.id), i.id, c.state, lower(c.class), lower(c.rule), c.rcpt, c.domain,
	i.sender, i.sender_domain, coalesce(json_extract(i.envelope, '$.client.addr'), ''), '', i.received, i.expires, i.size, c.score,
	substr(i.words, 1, max(instr(i.words, char(10)) - 1, 0)),
	CASE instr(substr(i.words, instr(i.words, char(10)) + 1), char(10)) WHEN 0 THEN ''
		ELSE substr(i.words, instr(i.words, char(10)) + 1, instr(substr(i.words, instr(i.words, char(10)) + 1), char(10)) - 1) END,
	lower(c.because)
	FROM items i JOIN copies c ON c.item = i.id;

CREATE INDEX sought_class ON sought (class);
CREATE INDEX sought_rule ON sought (rule);
CREATE INDEX sought_rcpt ON sought (rcpt);
CREATE INDEX sought_domain ON sought (domain);
CREATE INDEX sought_sender ON sought (sender);
CREATE INDEX sought_sender_domain ON sought (sender_domain);
CREATE INDEX sought_client ON sought (client);
CREATE INDEX sought_message_id ON sought (message_id);
CREATE INDEX sought_expires ON sought (expires);

-- Every three characters in a row of what words look in: where a part of a text may stand.
-- sought tells whether it does.
CREATE VIRTUAL TABLE sought_words USING fts5 (words, content = '', contentless_delete = 1, detail = none,
	tokenize = 'trigram case_sensitive 1');
INSERT INTO sought_words (rowid, words) SELECT seq, words || char(10) ||
	coalesce((SELECT group_concat(s.because, char(10)) FROM sought s WHERE s.bin IN (1, 2) AND s.seq = items.seq), '') FROM items;

DROP INDEX items_received;
DROP INDEX items_state;
DROP INDEX items_sender;
DROP INDEX copies_rcpt;
DROP INDEX copies_rule;
ALTER TABLE items DROP COLUMN words;
ALTER TABLE items ADD COLUMN message_id TEXT NOT NULL DEFAULT '';

CREATE TRIGGER copies_state AFTER UPDATE OF state ON copies WHEN NEW.state <> OLD.state BEGIN
	UPDATE sought SET state = NEW.state, bin = CASE WHEN NEW.state IN ('held', 'kept', 'releasing') THEN 1 ELSE 2 END
		WHERE bin IN (1, 2) AND seq = (SELECT seq FROM items WHERE id = NEW.item) AND n = NEW.n;
END;

-- Retention ends an item before its copies.
CREATE TRIGGER items_deleted AFTER UPDATE OF state ON items WHEN NEW.state = 'deleted' AND NEW.state <> OLD.state BEGIN
	UPDATE sought SET state = 'deleted', bin = 2 WHERE bin = 1 AND seq = NEW.seq;
END;

CREATE TRIGGER items_removed AFTER DELETE ON items BEGIN
	DELETE FROM sought WHERE bin IN (1, 2) AND seq = OLD.seq;
	DELETE FROM sought_words WHERE rowid = OLD.seq;
END;

-- One line an act. Times are microseconds since 1970, UTC. hash is SHA-256 over the hash of the
-- line before and all of this line.
CREATE TABLE acts_log (
	n      INTEGER PRIMARY KEY,
	at     INTEGER NOT NULL,
	who    TEXT NOT NULL,
	by_way TEXT NOT NULL,
	origin TEXT NOT NULL,
	act    TEXT NOT NULL,
	object TEXT NOT NULL,
	result TEXT NOT NULL,
	reason TEXT NOT NULL,
	note   TEXT NOT NULL,
	before TEXT NOT NULL, -- JSON, or ''
	after  TEXT NOT NULL, -- JSON, or ''
	hash   BLOB NOT NULL
) STRICT;
CREATE INDEX acts_log_object ON acts_log (object, n);
CREATE INDEX acts_log_who ON acts_log (who, n);

-- What is written stays. INSERT OR REPLACE would delete without asking acts_log_no_delete.
CREATE TRIGGER acts_log_no_update BEFORE UPDATE ON acts_log BEGIN SELECT RAISE(ABORT, 'the log of acts is append-only'); END;
CREATE TRIGGER acts_log_no_delete BEFORE DELETE ON acts_log BEGIN SELECT RAISE(ABORT, 'the log of acts is append-only'); END;
CREATE TRIGGER acts_log_in_order BEFORE INSERT ON acts_log WHEN NEW.n IS NOT (SELECT coalesce(max(n), 0) + 1 FROM acts_log)
BEGIN SELECT RAISE(ABORT, 'the log of acts is append-only'); END;

CREATE INDEX acts_log_object ON acts_log (object, n);
CREATE INDEX acts_log_who ON acts_log (who, n);
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
CREATE TABLE clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
CREATE TRIGGER acts_log_in_order BEFORE INSERT ON acts_log WHEN NEW.n IS NOT (SELECT coalesce(max(n), 0) + 1 FROM acts_log)
BEGIN SELECT RAISE(ABORT, 'the log of acts is append-only'); END;
CREATE TRIGGER acts_log_no_delete BEFORE DELETE ON acts_log BEGIN SELECT RAISE(ABORT, 'the log of acts is append-only'); END;
CREATE TRIGGER acts_log_no_update BEFORE UPDATE ON acts_log BEGIN SELECT RAISE(ABORT, 'the log of acts is append-only'); END;

-- What became of held copies, counted by the hour in which their messages came. Triggers keep it
-- in step. It outlives the copies: how many were released is asked for longer than they are kept.
CREATE TABLE fates (
	hour   INTEGER NOT NULL, -- since 1970
	domain TEXT NOT NULL,    -- of the recipient
	rule   TEXT NOT NULL,
	state  TEXT NOT NULL,
	n      INTEGER NOT NULL,
	PRIMARY KEY (hour, domain, rule, state)
) STRICT, WITHOUT ROWID;
INSERT INTO fates SELECT i.received / 3600000000, c.domain, c.rule, c.state, count(*) FROM copies c JOIN items i ON i.id = c.item
	WHERE c.state <> 'held' GROUP BY 1, 2, 3, 4;

CREATE TRIGGER copies_fate AFTER INSERT ON copies WHEN NEW.state <> 'held' BEGIN
	INSERT INTO fates SELECT received / 3600000000, NEW.domain, NEW.rule, NEW.state, 1 FROM items WHERE id = NEW.item
		ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER copies_fated AFTER UPDATE OF state ON copies WHEN NEW.state <> OLD.state BEGIN
	UPDATE fates SET n = n - 1 WHERE hour = (SELECT received / 3600000000 FROM items WHERE id = OLD.item)
		AND domain = OLD.domain AND rule = OLD.rule AND state = OLD.state AND OLD.state <> 'held';
	INSERT INTO fates SELECT received / 3600000000, NEW.domain, NEW.rule, NEW.state, 1 FROM items WHERE id = NEW.item AND NEW.state <> 'held'
		ON CONFLICT DO UPDATE SET n = n + 1;
END;

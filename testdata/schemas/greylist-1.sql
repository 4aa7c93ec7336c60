CREATE INDEX greylist_known ON greylist (who) WHERE passed > 0;
CREATE UNIQUE INDEX greylist_pair ON greylist (who, sender, recipient);
CREATE INDEX greylist_passed ON greylist (last) WHERE passed > 0;
CREATE INDEX greylist_waiting ON greylist (first) WHERE passed = 0;
CREATE TABLE clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE greylist (
	id        INTEGER PRIMARY KEY,
	who       TEXT NOT NULL,
	sender    TEXT NOT NULL, -- digits are #, since some senders have a new address for each message
	recipient TEXT NOT NULL,
	first     INTEGER NOT NULL, -- time of the first try
	last      INTEGER NOT NULL, -- and of the last that was noted
	tries     INTEGER NOT NULL,
	passed    INTEGER NOT NULL, -- 0: it waits
	by_whom   TEXT NOT NULL     -- who let it through; '' when it came back by itself
) STRICT;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;

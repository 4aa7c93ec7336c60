-- What some hundred entries in a row may contain, for searches: the rows themselves tell. They are
-- drawn behind the writer's back; where there is none, every row is looked at.
CREATE TABLE sketches (
	last  INTEGER PRIMARY KEY, -- seq of the last of its entries: all from first on are in it
	first INTEGER NOT NULL,
	bits  BLOB NOT NULL        -- one for each four bytes in a row, by their hash; empty: it may contain anything
) STRICT;

CREATE INDEX people_addresses_address ON people_addresses (address);
CREATE INDEX people_links_browser ON people_links (browser);
CREATE INDEX people_sessions_person ON people_sessions (person);
CREATE UNIQUE INDEX people_subject ON people (subject) WHERE subject != '';
CREATE INDEX people_tokens_person ON people_tokens (person);
CREATE TABLE clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE people (
	id        TEXT PRIMARY KEY,
	login     TEXT NOT NULL UNIQUE,  -- in lower case
	name      TEXT NOT NULL,
	role      TEXT NOT NULL,
	domains   TEXT NOT NULL,         -- a JSON list
	password  TEXT NOT NULL,         -- '' is none
	totp      TEXT NOT NULL,         -- the shared secret in base32; '' is none
	totp_step INTEGER NOT NULL,      -- the last time step whose code was taken
	subject   TEXT NOT NULL,         -- issuer and subject of OpenID Connect; '' is none
	made      INTEGER NOT NULL,
	seen      INTEGER NOT NULL       -- last sign-in; 0: never
, base_role TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
CREATE TABLE people_addresses (
	person  TEXT NOT NULL REFERENCES people ON DELETE CASCADE,
	n       INTEGER NOT NULL,
	address TEXT NOT NULL,
	PRIMARY KEY (person, address)
) STRICT, WITHOUT ROWID;
CREATE TABLE people_links (
	hash    BLOB PRIMARY KEY,
	kind    TEXT NOT NULL,        -- set-up or mail
	address TEXT NOT NULL,
	browser BLOB NOT NULL,        -- hash of the cookie of the browser that asked
	code    BLOB NOT NULL,        -- hash of what can be typed there instead, with the cookie
	tries   INTEGER NOT NULL,
	made    INTEGER NOT NULL,
	expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE people_places (
	person TEXT NOT NULL REFERENCES people ON DELETE CASCADE,
	place  TEXT NOT NULL,
	seen   INTEGER NOT NULL,
	PRIMARY KEY (person, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE people_recovery (
	person TEXT NOT NULL REFERENCES people ON DELETE CASCADE,
	hash   BLOB NOT NULL,
	PRIMARY KEY (person, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE people_sessions (
	hash   BLOB PRIMARY KEY,
	person TEXT NOT NULL REFERENCES people ON DELETE CASCADE,
	stage  TEXT NOT NULL,         -- '' signed in; 'code' a second factor is missing; 'enrol' it has to be set up
	how    TEXT NOT NULL,         -- password, link, oidc, set-up
	totp   TEXT NOT NULL,         -- a shared secret that waits for its first code
	made   INTEGER NOT NULL,
	seen   INTEGER NOT NULL,
	client TEXT NOT NULL,
	agent  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE people_tokens (
	id      TEXT PRIMARY KEY,
	hash    BLOB NOT NULL UNIQUE,
	person  TEXT NOT NULL REFERENCES people ON DELETE CASCADE,
	name    TEXT NOT NULL,
	scopes  TEXT NOT NULL,        -- a JSON list of permissions; null is all that the role gives
	made    INTEGER NOT NULL,
	expires INTEGER NOT NULL,
	used    INTEGER NOT NULL      -- 0: never
) STRICT, WITHOUT ROWID;
CREATE TABLE rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;

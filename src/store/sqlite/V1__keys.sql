-- Times are milliseconds since the Unix epoch. Secrets are sealed, each to its table, account, key name and slot.

CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT,
    management INTEGER NOT NULL CHECK (management IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    account TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    secret_1 BLOB NOT NULL,
    until_1 INTEGER,
    secret_2 BLOB,
    until_2 INTEGER,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- Without a reference to accounts: what was revoked stays so when its account goes and comes again.
CREATE TABLE revoked (
    account TEXT NOT NULL,
    token TEXT NOT NULL,
    until INTEGER,
    PRIMARY KEY (account, token)
) STRICT, WITHOUT ROWID;

CREATE INDEX revoked_until ON revoked (until) WHERE until IS NOT NULL;

-- One row, sealed: tells a wrong master key from the right one before anything is read or written.
CREATE TABLE sentinel (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    sealed BLOB NOT NULL
) STRICT;

-- Amounts are nano-dollars, times milliseconds since the Unix epoch.

-- What is spent from and held in each purse that was ever met. An id never comes twice: a hold names purses by it.
CREATE TABLE purses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    -- 0: a token, 1: a key, 2: the whole account.
    kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 2),
    -- The token's or the key's name; empty for an account.
    name TEXT NOT NULL,
    -- 0: for ever, 1: a day, 2: a month.
    span INTEGER NOT NULL CHECK (span BETWEEN 0 AND 2),
    begins INTEGER NOT NULL,
    spent INTEGER NOT NULL CHECK (spent >= 0),
    held INTEGER NOT NULL CHECK (held >= 0),
    UNIQUE (account, kind, name, span, begins)
) STRICT;

CREATE INDEX purses_begins ON purses (begins) WHERE span <> 0;

-- Calls that may be upstream. What a usage row needs is here too, for a call that nobody ends.
CREATE TABLE holds (
    call BLOB NOT NULL PRIMARY KEY CHECK (length(call) = 16),
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    at INTEGER NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    -- The purses that pay: of each its id and the limit that it was checked against, 8 bytes each, the highest first.
    purses BLOB NOT NULL CHECK (length(purses) % 16 = 0),
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    token TEXT,
    model TEXT,
    route TEXT NOT NULL,
    request_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE usage (
    at INTEGER NOT NULL,
    call BLOB NOT NULL CHECK (length(call) = 16),
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    token TEXT,
    model TEXT,
    cost INTEGER NOT NULL CHECK (cost >= 0),
    input INTEGER NOT NULL CHECK (input >= 0),
    output INTEGER NOT NULL CHECK (output >= 0),
    cached INTEGER NOT NULL CHECK (cached >= 0),
    cache_write INTEGER NOT NULL CHECK (cache_write >= 0),
    reasoning INTEGER NOT NULL CHECK (reasoning >= 0),
    duration INTEGER,
    -- What the upstream said that it costs.
    reported INTEGER,
    metered TEXT NOT NULL,
    status INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    took INTEGER NOT NULL,
    route TEXT NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (at, call)
) STRICT, WITHOUT ROWID;

-- The sums of usage rows: a cap that comes later begins with what was spent before, without reading them all.
CREATE TABLE daily (
    account TEXT NOT NULL,
    day INTEGER NOT NULL,
    key TEXT NOT NULL,
    cost INTEGER NOT NULL CHECK (cost >= 0),
    PRIMARY KEY (account, day, key)
) STRICT, WITHOUT ROWID;

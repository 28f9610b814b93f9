-- Usage rows by one number, so that a new one goes to the end: the 21 lowest bits of it are those of the call's name, or
-- where another call has them the next ones that are free, and those above them its time, in milliseconds, as in `at`.
CREATE TABLE usage_by_id (
    id INTEGER NOT NULL PRIMARY KEY,
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
    request_id TEXT NOT NULL
) STRICT;

-- A row whose bits another one has gets the next ones. That three have the same does not happen, and would stop this.
CREATE TEMP TABLE usage_ids AS
SELECT at, call, (
    SELECT sum((instr('0123456789ABCDEF', substr(hex(substr(call, 14)), place, 1)) - 1) << (24 - 4 * place))
    FROM (SELECT 1 AS place UNION ALL VALUES (2), (3), (4), (5), (6))
) & 2097151 AS low FROM usage;

INSERT OR IGNORE INTO usage_by_id
SELECT min(usage.at, 4398046511103) << 21 | low, usage.* FROM usage_ids JOIN usage USING (at, call) ORDER BY at, call;

INSERT INTO usage_by_id
SELECT min(usage.at, 4398046511103) << 21 | ((low + 1) & 2097151), usage.* FROM usage_ids JOIN usage USING (at, call)
WHERE call <> (
    SELECT call FROM usage_by_id WHERE id = (min(usage.at, 4398046511103) << 21 | low)
);

DROP TABLE usage_ids;

DROP TABLE usage;

ALTER TABLE usage_by_id RENAME TO usage;

-- Calls whose answers go to a webhook. Times are milliseconds since the Unix epoch.

CREATE TABLE jobs (
    seq INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    -- The name of its hold and of its usage row.
    call BLOB NOT NULL CHECK (length(call) = 16),
    at INTEGER NOT NULL,
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    token TEXT,
    model TEXT,
    surface TEXT NOT NULL,
    origin TEXT NOT NULL,
    -- 0: queued, 1: running, 2: delivering, 3: delivered, 4: failed, 5: dead.
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 5),
    death TEXT,
    lane TEXT NOT NULL,
    due INTEGER NOT NULL,
    -- How far away `due` was when it was set.
    gap INTEGER NOT NULL CHECK (gap >= 0),
    -- Whoever works on it, until when.
    owner BLOB CHECK (length(owner) = 16),
    lease_until INTEGER,
    epoch INTEGER NOT NULL,
    -- How often in a row a lease was taken over while its call was made.
    crashes INTEGER NOT NULL,
    -- How many attempts of this phase have failed.
    failed INTEGER NOT NULL,
    -- Whether its result is an answer; NULL where there is none.
    succeeded INTEGER CHECK (succeeded IN (0, 1)),
    -- What was held for it when it came, and the purses as in `holds`; NULL where nothing was.
    amount INTEGER CHECK (amount >= 0),
    purses BLOB CHECK (length(purses) % 16 = 0),
    ended INTEGER,
    -- Whether its contents are there.
    kept INTEGER NOT NULL CHECK (kept IN (0, 1)),
    CHECK ((death IS NULL) = (state <> 5)),
    CHECK ((owner IS NULL) = (lease_until IS NULL)),
    CHECK ((ended IS NULL) = (state < 3)),
    CHECK (owner IS NULL OR state IN (1, 2)),
    CHECK (owner IS NOT NULL OR state <> 1)
) STRICT;

CREATE INDEX jobs_waiting ON jobs (state, lane, due) WHERE owner IS NULL AND ended IS NULL;

CREATE INDEX jobs_due ON jobs (state, due) WHERE owner IS NULL AND ended IS NULL;

CREATE INDEX jobs_leased ON jobs (lease_until) WHERE owner IS NOT NULL;

CREATE INDEX jobs_by_state ON jobs (state, at);

CREATE INDEX jobs_by_account ON jobs (account, state, at);

CREATE INDEX jobs_ended ON jobs (ended) WHERE ended IS NOT NULL;

CREATE INDEX jobs_dead ON jobs (ended) WHERE ended IS NOT NULL AND kept = 1;

-- What is sealed of a job, apart from it: who changes a row writes all of it.
CREATE TABLE contents (
    -- Four times the job's `seq`, and 0: its URL, 1: its head, 2: its request, 3: its result.
    id INTEGER NOT NULL PRIMARY KEY,
    -- What everything that its master key sealed begins with.
    master BLOB NOT NULL CHECK (length(master) = 9),
    -- Its length in the clear.
    len INTEGER NOT NULL CHECK (len >= 0),
    -- The file that it is in, if it is not here.
    file TEXT,
    sealed BLOB,
    CHECK ((file IS NULL) <> (sealed IS NULL))
) STRICT;

CREATE INDEX contents_by_master ON contents (master);

CREATE UNIQUE INDEX contents_by_file ON contents (file) WHERE file IS NOT NULL;

CREATE TABLE attempts (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    -- 0: of the call, 1: of the delivery.
    phase INTEGER NOT NULL CHECK (phase IN (0, 1)),
    at INTEGER NOT NULL,
    status INTEGER,
    error TEXT,
    -- What the other side has said, sealed.
    said BLOB,
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

-- What tells a second try of a client from a second call. Digests.
CREATE TABLE once (
    account TEXT NOT NULL,
    key BLOB NOT NULL CHECK (length(key) = 32),
    request BLOB NOT NULL CHECK (length(request) = 32),
    at INTEGER NOT NULL,
    job TEXT NOT NULL,
    PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX once_at ON once (at);

-- How many jobs there are in each state, and of each account that have not ended: nobody has to count them.
CREATE TABLE job_states (
    state INTEGER NOT NULL PRIMARY KEY,
    jobs INTEGER NOT NULL CHECK (jobs >= 0)
) STRICT;

INSERT INTO job_states (state, jobs) VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0);

CREATE TABLE job_accounts (
    account TEXT NOT NULL PRIMARY KEY,
    jobs INTEGER NOT NULL CHECK (jobs >= 0)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER job_came AFTER INSERT ON jobs BEGIN
    UPDATE job_states SET jobs = jobs + 1 WHERE state = NEW.state;
    INSERT INTO job_accounts (account, jobs) VALUES (NEW.account, 1)
    ON CONFLICT (account) DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER job_changed AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state BEGIN
    UPDATE job_states SET jobs = jobs - 1 WHERE state = OLD.state;
    UPDATE job_states SET jobs = jobs + 1 WHERE state = NEW.state;
END;

CREATE TRIGGER job_ended AFTER UPDATE OF state ON jobs WHEN OLD.state < 3 AND NEW.state >= 3 BEGIN
    UPDATE job_accounts SET jobs = jobs - 1 WHERE account = OLD.account;
    DELETE FROM job_accounts WHERE account = OLD.account AND jobs = 0;
END;

CREATE TRIGGER job_came_back AFTER UPDATE OF state ON jobs WHEN OLD.state >= 3 AND NEW.state < 3 BEGIN
    INSERT INTO job_accounts (account, jobs) VALUES (NEW.account, 1)
    ON CONFLICT (account) DO UPDATE SET jobs = jobs + 1;
END;

-- Only jobs that have ended are ever deleted.
CREATE TRIGGER job_went AFTER DELETE ON jobs BEGIN
    UPDATE job_states SET jobs = jobs - 1 WHERE state = OLD.state;
END;

-- What signs an account's deliveries, sealed: the newest, and the one before it while that signs too.
CREATE TABLE webhook_secrets (
    account TEXT NOT NULL PRIMARY KEY,
    first BLOB NOT NULL,
    before BLOB,
    until INTEGER,
    CHECK ((before IS NULL) = (until IS NULL))
) STRICT, WITHOUT ROWID;

-- Numbers that outlive the process.
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('epoch', 0);

-- One row an append. Rows lie in the order of their commits, so a batch of many runs touches few pages.
CREATE TABLE journal (
    id INTEGER PRIMARY KEY,
    run BLOB NOT NULL,
    seq INTEGER NOT NULL,
    encoding INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX journal_by_run ON journal (run, seq);

-- `owner` is the epoch of the lease that drives the run; `wake` is from when on it may be claimed without one.
CREATE TABLE runs (
    run BLOB PRIMARY KEY,
    tenant TEXT NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT NOT NULL,
    snapshot BLOB NOT NULL,
    labels TEXT NOT NULL,
    created INTEGER NOT NULL,
    status INTEGER NOT NULL,
    due INTEGER,
    finished INTEGER,
    owner INTEGER,
    wake INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_by_tenant ON runs (tenant, run);
CREATE INDEX runs_by_status ON runs (tenant, status, run);
CREATE INDEX runs_by_workflow ON runs (tenant, workflow, status, run);
CREATE INDEX runs_ready ON runs (wake) WHERE owner IS NULL AND wake IS NOT NULL;
CREATE INDEX runs_owned ON runs (owner) WHERE owner IS NOT NULL;

CREATE TABLE run_labels (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    run BLOB NOT NULL,
    PRIMARY KEY (tenant, name, value, run)
) STRICT, WITHOUT ROWID;

-- Ids are never used twice: a driver that is late must not consume a newer message.
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run BLOB NOT NULL,
    sender_key TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (run, sender_key)
) STRICT;

CREATE TABLE idempotency (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    run BLOB NOT NULL,
    request BLOB NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_end ON idempotency (expires);

-- `body` is NULL where the value is a file. `orphaned` is when somebody last let go of it.
CREATE TABLE blobs (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    body BLOB,
    orphaned INTEGER
) STRICT;
CREATE INDEX blobs_orphaned ON blobs (orphaned) WHERE orphaned IS NOT NULL;

-- `owner` is a run, or empty for a value that is kept for good.
CREATE TABLE blob_refs (
    owner BLOB NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (owner, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_refs_by_digest ON blob_refs (digest);

-- Retention: finished runs by age, and runs whose index row is gone and whose journal is being removed.
CREATE INDEX runs_finished ON runs (finished) WHERE finished IS NOT NULL;
CREATE TABLE removing (run BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Outputs of pure steps. `digest` is set where the output is among the values. `used` is coarse.
CREATE TABLE cache (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    key BLOB NOT NULL,
    output TEXT,
    digest BLOB,
    bytes INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    expires INTEGER,
    source_run BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    size INTEGER NOT NULL,
    used INTEGER NOT NULL,
    UNIQUE (tenant, key)
) STRICT;
CREATE INDEX cache_by_use ON cache (tenant, used);
CREATE INDEX cache_by_end ON cache (expires) WHERE expires IS NOT NULL;
CREATE INDEX cache_by_digest ON cache (digest) WHERE digest IS NOT NULL;
CREATE TABLE cache_total (tenant TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE shelf (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (collection, key)
) STRICT, WITHOUT ROWID;

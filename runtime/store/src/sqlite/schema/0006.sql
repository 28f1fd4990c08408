-- Where a run stands among those that no node has taken yet: its level, and its place in the line of that level. NULL
-- once a node has taken it.
ALTER TABLE runs ADD COLUMN level INTEGER NOT NULL DEFAULT 3;
ALTER TABLE runs ADD COLUMN place INTEGER;
DROP INDEX runs_ready;
CREATE INDEX runs_ready ON runs (wake) WHERE owner IS NULL AND wake IS NOT NULL AND place IS NULL;
CREATE INDEX runs_in_line ON runs (level, place) WHERE owner IS NULL AND place IS NOT NULL;

-- The last place that was given to a fairness key, and the last that had its turn.
CREATE TABLE shares (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('place', 0);

-- A slot that a run has (`held`) or waits for, as long as it lives. `most` runs may have one with this key; `told` where
-- it is to make room; `asked` is when it came.
CREATE TABLE slots (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    run BLOB NOT NULL,
    most INTEGER NOT NULL,
    level INTEGER NOT NULL,
    place INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    held INTEGER NOT NULL,
    told INTEGER NOT NULL,
    PRIMARY KEY (tenant, key, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX slots_in_line ON slots (tenant, key, held, level, place, run);
CREATE INDEX slots_by_run ON slots (run);

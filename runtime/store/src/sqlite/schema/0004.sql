-- Which runs are told of an event of their tenant, while they live.
CREATE TABLE listeners (
    tenant TEXT NOT NULL,
    event TEXT NOT NULL,
    run BLOB NOT NULL,
    PRIMARY KEY (tenant, event, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX listeners_by_run ON listeners (run);

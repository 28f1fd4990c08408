-- Schedules: a row each. `owner` is the epoch of the node that keeps its time; versions come from one counter, so that
-- none is given twice.
CREATE TABLE schedules (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    owner INTEGER,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX schedules_by_owner ON schedules (owner);
INSERT INTO meta (name, value) VALUES ('schedule_version', 0);

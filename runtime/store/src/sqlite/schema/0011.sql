-- The call logs of agents: one row an entry, in the order in which its agent asked and was told.
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    run BLOB NOT NULL,
    log TEXT NOT NULL,
    seq INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX calls_by_run ON calls (run, log, seq);

-- What is owed to webhooks, a row for each message to each endpoint. `due` while it waits; `owner` is the epoch of the
-- node that is sending it.
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    url TEXT NOT NULL,
    secret TEXT,
    run BLOB,
    event TEXT NOT NULL,
    message TEXT NOT NULL,
    created INTEGER NOT NULL,
    status INTEGER NOT NULL,
    due INTEGER,
    finished INTEGER,
    tries TEXT NOT NULL,
    version INTEGER NOT NULL,
    owner INTEGER
) STRICT;
CREATE INDEX deliveries_due ON deliveries (endpoint, due, created) WHERE due IS NOT NULL AND owner IS NULL;
CREATE INDEX deliveries_owned ON deliveries (owner) WHERE owner IS NOT NULL;
CREATE INDEX deliveries_listed ON deliveries (tenant, id);
CREATE INDEX deliveries_by_status ON deliveries (tenant, status, id);
CREATE INDEX deliveries_by_endpoint ON deliveries (tenant, endpoint, id);
CREATE INDEX deliveries_by_run ON deliveries (run, id) WHERE run IS NOT NULL;
CREATE INDEX deliveries_finished ON deliveries (finished) WHERE finished IS NOT NULL;

-- Who asked for a run. No index: it is looked at in the rows of a page that is read anyway.
ALTER TABLE runs ADD COLUMN created_by TEXT;

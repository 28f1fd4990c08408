-- How many rows the journal had when the index row was last changed: a journal that has fewer has lost its last ones.
-- 0 for rows from before this step.
ALTER TABLE runs ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;

-- The last place in the journal that was given before rows were removed: none is given twice, so that a reader who
-- comes back with one misses nothing.
INSERT INTO meta (name, value) VALUES ('position', 0);

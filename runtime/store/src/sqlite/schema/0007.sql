-- What a run is left for while no node drives it: 1 a slot, 2 its time, 3 parked; NULL for all others. The index counts
-- them. What was left before this step and has not begun is told from what is parked where it waits for a slot.
ALTER TABLE runs ADD COLUMN rest INTEGER;
UPDATE runs SET rest = iif(EXISTS (SELECT 1 FROM slots WHERE slots.run = runs.run AND held = 0), 1, 3)
    WHERE status IN (2, 3, 4);
CREATE INDEX runs_at_rest ON runs (rest) WHERE rest IS NOT NULL;

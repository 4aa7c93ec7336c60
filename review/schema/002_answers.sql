-- Whether whoever asked was written to about the answer. What was answered before is not told now.
ALTER TABLE review_requests ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
UPDATE review_requests SET told = 1 WHERE state <> 'asked';
CREATE INDEX review_requests_untold ON review_requests (decided) WHERE told = 0 AND state <> 'asked';

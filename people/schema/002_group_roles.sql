-- The role that somebody has without the groups of OpenID Connect; '' while no group gives another.
ALTER TABLE people ADD COLUMN base_role TEXT NOT NULL DEFAULT '';

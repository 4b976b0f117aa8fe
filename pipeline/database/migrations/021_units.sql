-- What `security_type` calls a share since: units that are held as shares are.
UPDATE symbol_snapshots SET security_type = 'share'
WHERE security_type = 'unit' AND regexp_matches(name, '\b((depositary|depository) units?|units? of beneficial)\b', 'i');
UPDATE nasdaq_symbols SET security_type = 'share'
WHERE security_type = 'unit' AND regexp_matches(name, '\b((depositary|depository) units?|units? of beneficial)\b', 'i');

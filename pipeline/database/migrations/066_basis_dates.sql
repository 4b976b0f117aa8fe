-- The newest session that the replaced history had on the other basis: the next answers have to reach behind it for a while.
ALTER TABLE basis_changes ADD COLUMN last_date DATE;

-- What operators need, for PostgreSQL. The same names stand in the other dialect's file.

-- The flow that an adjustment ends when it is posted; absent where it is made for none.
alter table adjustments add column flow bytea;

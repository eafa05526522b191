-- Operations in the order in which they came, with their keys in an index, for SQLite. A table that is one tree of its keys wrote, for
-- each operation, a random page that holds some twenty outcomes; the index has six times as many keys on a page, and fewer pages go
-- into the log.
create table operations_by_time (
    key blob not null,
    fingerprint blob not null,
    outcome blob not null,
    at integer not null,
    constraint operations_pk primary key (key)
) strict;
insert into operations_by_time (key, fingerprint, outcome, at)
    select key, fingerprint, outcome, at from operations order by at, key;
drop table operations;
alter table operations_by_time rename to operations;

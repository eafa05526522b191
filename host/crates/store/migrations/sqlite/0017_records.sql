-- Records whose content can be erased, and back-tests, for SQLite. The same names stand in the other dialect's file.

-- Form 1: the hash covers the page's bytes, and the records have their content inside. Form 2: the hash is the last link of the records'
-- digests, and `contents` is lz4 of the postcard of a list of (salt, bytes) or nothing, in the page's order; null once all are erased.
alter table record_pages add column form integer not null default 1;
alter table record_pages add column contents blob;

-- For how long contents are kept, in days; null: for ever. `swept_to` is the last page whose contents went by it.
create table record_retention (
    lane integer not null,
    keep_days integer,
    swept_to integer not null,
    constraint record_retention_pk primary key (lane)
) strict;
insert into record_retention (lane, keep_days, swept_to) values (0, null, 0);

-- What back-tests of a component under settings found, and whether that was within what their operator allowed.
create table backtests (
    id blob not null,
    plugin text not null,
    component blob not null,
    settings blob not null,
    from_at integer not null,
    to_at integer not null,
    decisions integer not null,
    flips integer not null,
    faults integer not null,
    flips_max integer,
    passed integer not null,
    actor text not null,
    at integer not null,
    report text not null,
    constraint backtests_pk primary key (id)
) strict;
create index backtests_by_component on backtests (component, settings, id);

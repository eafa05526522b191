-- Records whose content can be erased, and back-tests, for PostgreSQL. The same names stand in the other dialect's file.

-- Form 1: the hash covers the page's bytes, and the records have their content inside. Form 2: the hash is the last link of the records'
-- digests, and `contents` is lz4 of the postcard of a list of (salt, bytes) or nothing, in the page's order; null once all are erased.
alter table record_pages add column form smallint not null default 1;
alter table record_pages add column contents bytea;
-- The contents are compressed already.
alter table record_pages alter column contents set storage external;

-- For how long contents are kept, in days; null: for ever. `swept_to` is the last page whose contents went by it.
create table record_retention (
    lane integer not null,
    keep_days bigint,
    swept_to bigint not null,
    constraint record_retention_pk primary key (lane)
);
insert into record_retention (lane, keep_days, swept_to) values (0, null, 0);

-- What back-tests of a component under settings found, and whether that was within what their operator allowed.
create table backtests (
    id bytea not null,
    plugin text not null,
    component bytea not null,
    settings bytea not null,
    from_at bigint not null,
    to_at bigint not null,
    decisions bigint not null,
    flips bigint not null,
    faults bigint not null,
    flips_max bigint,
    passed smallint not null,
    actor text not null,
    at bigint not null,
    report text not null,
    constraint backtests_pk primary key (id)
);
create index backtests_by_component on backtests (component, settings, id);

-- Files that are shared with partners that work in batches, and the calendars of their cut-offs.

-- Holidays that operators added, each for a span of days: the newest that is good for a day decides. `days` are day counts since 1970-01-01, in order.
create table calendars (
    id integer not null primary key autoincrement,
    name text not null,
    from_day integer not null,
    until_day integer not null,
    days text not null,
    changed_at integer not null
) strict;
create index calendars_by_name on calendars (name, id);

-- Files to partners, one for each cut-off. `state`: 0 open, 1 sealed, 2 composed, 3 written, 4 not composed: an operator is asked. `number` is given when it
-- is sealed, from 1 and without gaps for each file of a plugin; with it the name is whole. `bytes` are those of its records
-- with their correlations. Once there is a `content` it never changes.
create table partner_files (
    id blob not null,
    plugin text not null,
    file text not null,
    cut_off integer not null,
    directory text not null,
    state integer not null,
    number integer,
    name text not null,
    digest blob,
    content blob,
    records integer not null,
    bytes integer not null,
    note text,
    changed_at integer not null,
    constraint partner_files_pk primary key (id)
) strict;
create unique index partner_files_by_cut_off on partner_files (plugin, file, cut_off);
create unique index partner_files_by_number on partner_files (plugin, file, number) where number is not null;
create index partner_files_open on partner_files (cut_off) where state <> 3;
create index partner_files_written on partner_files (changed_at) where state = 3;

-- What flows put into them, in order; a flow's effect is in one file at most.
create table partner_file_records (
    place integer not null primary key autoincrement,
    of_file blob not null,
    flow blob not null,
    key text not null,
    correlation text not null,
    record blob not null
) strict;
create unique index partner_file_records_by_effect on partner_file_records (flow, key);
create index partner_file_records_by_file on partner_file_records (of_file, place);

-- Files from partners, by their digest: each is taken once. `state`: 1 taken, 2 unreadable.
create table received_files (
    id blob not null,
    plugin text not null,
    file text not null,
    digest blob not null,
    name text not null,
    state integer not null,
    records integer not null,
    note text,
    at integer not null,
    constraint received_files_pk primary key (id)
) strict;
create unique index received_files_by_digest on received_files (plugin, file, digest);

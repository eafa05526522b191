-- Links: users' accounts at partners, which last between flows, and consents that their servers still have to be told the end of, for SQLite.

-- `reference` is the partner's own id of it, `body` the link (postcard). `live` is 0 once it ended; `due_at` is when it is looked at next for rows
-- that its partner has not been told of.
create table links (
    plugin blob not null,
    reference text not null,
    id blob not null,
    user_id blob not null,
    live integer not null,
    due_at integer not null,
    body blob not null,
    constraint links_pk primary key (plugin, reference)
) strict, without rowid;
create unique index links_by_id on links (id);
create index links_of_user on links (user_id);
create index links_due on links (due_at) where live = 1;

-- Tokens of consents that ended here, sealed, until the partner's server was told so or it was tried often enough.
create table consent_revocations (
    id blob not null,
    plugin text not null,
    endpoint text not null,
    user_id blob not null,
    secret blob not null,
    key_id text not null,
    attempts integer not null,
    due_at integer not null,
    constraint consent_revocations_pk primary key (id)
) strict, without rowid;
create index consent_revocations_due on consent_revocations (due_at);

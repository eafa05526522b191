-- What the host does for plugins in the outside world, for SQLite: sandbox and live bases, limits, and what users agreed to by OAuth.

-- What is not secret about an endpoint, as JSON: limits, authorities, OAuth addresses. A plugin's sandbox is a row of its own, named `NAME/sandbox`, which no
-- manifest can write.
alter table endpoints add column detail text not null default '{}';

-- Plugins that talk to their partners' sandboxes; without a row a plugin talks to the live ones.
create table endpoint_modes (
    plugin text not null,
    sandbox integer not null,
    changed_at integer not null,
    constraint endpoint_modes_pk primary key (plugin)
) strict, without rowid;

-- What a user let the platform do at a partner's: the tokens of OAuth, sealed. `state`: 1 given, 2 ended. Each new token raises `generation`; who refreshes holds
-- the row until `lease_until`.
create table consents (
    plugin text not null,
    endpoint text not null,
    user_id blob not null,
    state integer not null,
    secret blob not null,
    key_id text not null,
    ends_at integer not null,
    generation integer not null,
    lease_owner text,
    lease_until integer,
    reason text,
    created_at integer not null,
    changed_at integer not null,
    constraint consents_pk primary key (plugin, endpoint, user_id)
) strict;
create index consents_by_user on consents (user_id);

-- Users who were sent to a partner's page: found by the digest of what they bring back, once. `secret` is the sealed verifier.
create table consent_requests (
    asked blob not null,
    plugin text not null,
    endpoint text not null,
    user_id blob not null,
    secret blob not null,
    key_id text not null,
    expires_at integer not null,
    constraint consent_requests_pk primary key (asked)
) strict;
create index consent_requests_by_user on consent_requests (user_id, expires_at);
create index consent_requests_by_end on consent_requests (expires_at);

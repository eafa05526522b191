-- What the host does for plugins in the outside world, for PostgreSQL: sandbox and live bases, limits, and what users agreed to by OAuth.

-- What is not secret about an endpoint, as JSON: limits, authorities, OAuth addresses. A plugin's sandbox is a row of its own, named `NAME/sandbox`, which no
-- manifest can write.
alter table endpoints add column detail text not null default '{}';

-- Plugins that talk to their partners' sandboxes; without a row a plugin talks to the live ones.
create table endpoint_modes (
    plugin text not null,
    sandbox smallint not null,
    changed_at bigint not null,
    constraint endpoint_modes_pk primary key (plugin)
);

-- What a user let the platform do at a partner's: the tokens of OAuth, sealed. `state`: 1 given, 2 ended. Each new token raises `generation`; who refreshes holds
-- the row until `lease_until`.
create table consents (
    plugin text not null,
    endpoint text not null,
    user_id bytea not null,
    state smallint not null,
    secret bytea not null,
    key_id text not null,
    ends_at bigint not null,
    generation bigint not null,
    lease_owner text,
    lease_until bigint,
    reason text,
    created_at bigint not null,
    changed_at bigint not null,
    constraint consents_pk primary key (plugin, endpoint, user_id)
);
create index consents_by_user on consents (user_id);

-- Users who were sent to a partner's page: found by the digest of what they bring back, once. `secret` is the sealed verifier.
create table consent_requests (
    asked bytea not null,
    plugin text not null,
    endpoint text not null,
    user_id bytea not null,
    secret bytea not null,
    key_id text not null,
    expires_at bigint not null,
    constraint consent_requests_pk primary key (asked)
);
create index consent_requests_by_user on consent_requests (user_id, expires_at);
create index consent_requests_by_end on consent_requests (expires_at);

-- Holds and reviews, freezing and verification, adjustments, exchanges, schedules and webhooks, for PostgreSQL. The same names stand in the
-- other dialect's file. What SQL cannot say runs in code in the same transaction (`migrations/second.rs`): parts of payments, spans
-- of record pages, settings of flows, keys of stored calls, outcomes that name a payment or a transfer.

-- ---- the ledger -------------------------------------------------------------------------------------------------------

-- What each writer committed last. One that lost its connection while committing looks here whether it happened.
create table lane_writers (
    writer bytea not null,
    number bigint not null,
    at bigint not null,
    constraint lane_writers_pk primary key (writer)
);

-- `span` is the size of the span of a page's ids: 0 for less than 16 ms from the first id to the last, and each further one sixteen
-- times as long, up to 6.
alter table record_pages add column span smallint not null default 0;
drop index record_pages_by_last_id;
create index record_pages_by_span on record_pages (span, last_id, first_id);

-- ---- people and their dealings ----------------------------------------------------------------------------------------

-- `access`: 0 open, 1 frozen, 2 closed. `verification`: 1 unverified, 2 submitted, 3 verified, 4 rejected, 5 revoked. The ledger alone
-- changes them, and `kind`.
alter table users add column access smallint not null default 0;
alter table users add column verification smallint not null default 1;
update users set verification = 3 where kind = 2;

-- `access`: 0 open, 1 frozen.
alter table merchants add column access smallint not null default 0;

-- What users submitted to be verified, sealed with the key that `key_id` names. The newest of a user counts.
create table submissions (
    id bytea not null,
    user_id bytea not null,
    key_id text not null,
    sealed bytea not null,
    at bigint not null,
    constraint submissions_pk primary key (id)
);
create index submissions_by_user on submissions (user_id, id);

-- Corrections that one operator proposes and another decides. `lines` is the postcard of what they move. `state`: 1 proposed,
-- 2 approved, 3 rejected.
create table adjustments (
    id bytea not null,
    lines bytea not null,
    reason text not null,
    proposer bytea not null,
    state smallint not null,
    decider bytea,
    at bigint not null,
    decided_at bigint,
    constraint adjustments_pk primary key (id)
);

-- API keys (`kind` 1, by id) and devices (`kind` 2, by name) that nothing may come by. Part of the policy.
create table frozen (
    kind smallint not null,
    name text not null,
    at bigint not null,
    constraint frozen_pk primary key (kind, name)
);

-- `state`: 1 authorised, 2 in review, 3 captured, 4 voided, 5 expired, 6 declined. `parts` is the postcard of what the payment is taken
-- from (source, held, captured, refunded), in spend order; `captured` and `refunded` repeat its sums.
alter table payments add column state smallint not null default 3;
alter table payments add column parts bytea not null default ''::bytea;
alter table payments add column captured bigint not null default 0;
alter table payments add column refunded bigint not null default 0;
alter table payments add column disputed bigint not null default 0;
alter table payments add column expires_at bigint;
create index payments_held on payments (expires_at) where state = 1;

-- Captures of held payments; a payment that was paid at once has none. `last`: nothing was held afterwards.
create table captures (
    id bytea not null,
    payment bytea not null,
    merchant bytea not null,
    amount bigint not null,
    currency text not null,
    let_go bigint not null,
    last smallint not null,
    decision bytea,
    at bigint not null,
    constraint captures_pk primary key (id)
);
create index captures_by_payment on captures (payment, id);

-- Reviews, by the id of the payment (`kind` 1) or transfer (2) whose amount is held. `hold_ms`: for how long an approved payment is
-- held for its merchant; null if it is paid at once. `state`: 1 open, 2 approved, 3 declined, 4 expired.
create table reviews (
    id bytea not null,
    kind smallint not null,
    payer bytea not null,
    payee bytea not null,
    amount bigint not null,
    currency text not null,
    hold_ms bigint,
    decision bytea,
    state smallint not null,
    at bigint not null,
    expires_at bigint not null,
    operator bytea,
    ended_at bigint,
    constraint reviews_pk primary key (id)
);
create index reviews_open on reviews (expires_at) where state = 1;

-- `state`: 1 sent, 2 in review, 3 declined, 4 expired.
alter table transfers add column state smallint not null default 1;

-- Exchanges of one currency for another. `rate` is in ten-thousandths of the quote currency for one unit of the base.
create table exchanges (
    id bytea not null,
    user_id bytea not null,
    sell_amount bigint not null,
    sell_currency text not null,
    buy_amount bigint not null,
    buy_currency text not null,
    base text not null,
    quote text not null,
    rate bigint not null,
    repaid bigint not null,
    at bigint not null,
    constraint exchanges_pk primary key (id)
);
create index exchanges_by_user on exchanges (user_id, id);

-- Payments and transfers that are to be done later. `wish` is the postcard of what; `state`: 1 waiting, 2 running, 3 done, 4 refused,
-- 5 cancelled. `due_at` is when a host looks at it next: its time, then the end of the lease of the host that took it up.
-- `outcome`: the id of what was made, or the code of the refusal. `operation` and `fingerprint` are those of the request.
create table schedules (
    id bytea not null,
    user_id bytea not null,
    wish bytea not null,
    execute_at bigint not null,
    due_at bigint not null,
    device text,
    locale text not null,
    state smallint not null,
    outcome text,
    created_at bigint not null,
    ended_at bigint,
    operation bytea not null,
    fingerprint bytea not null,
    constraint schedules_pk primary key (id),
    constraint schedules_operation unique (operation)
);
create index schedules_by_user on schedules (user_id, id);
create index schedules_due on schedules (due_at) where state < 3;

-- The audit log is searched by time, too.
create index audit_by_time on audit (at, sequence);

-- ---- webhooks ---------------------------------------------------------------------------------------------------------
-- How far readers of the outbox have come. Whoever moves a cursor locks its row first.
create table outbox_cursors (
    name text not null,
    sequence bigint not null,
    constraint outbox_cursors_pk primary key (name)
);
insert into outbox_cursors (name, sequence) values ('webhooks', 0);

-- Where webhooks go. No merchant: the platform's own. `types` is a list with commas, empty for all. `secret` holds, sealed, 32 bytes of
-- shared secret and 32 of a key pair's seed; `old_secret` those before, until `old_until`. News behind page `since_sequence` are for it;
-- `next_sequence` numbers its next delivery. From `replay_from` (exclusive) to `replay_until` the outbox is read for it once more.
create table webhook_endpoints (
    id bytea not null,
    merchant bytea,
    url text not null,
    types text not null,
    description text not null,
    secret bytea not null,
    key_id text not null,
    old_secret bytea,
    old_key_id text not null,
    old_until bigint,
    public_key bytea not null,
    allow_private smallint not null,
    enabled smallint not null,
    disabled_reason text,
    failures bigint not null,
    failing_since bigint,
    resting_until bigint not null,
    since_sequence bigint not null,
    next_sequence bigint not null,
    replay_from bigint,
    replay_until bigint,
    created_at bigint not null,
    changed_at bigint not null,
    constraint webhook_endpoints_pk primary key (id)
);
create index webhook_endpoints_by_merchant on webhook_endpoints (merchant, id);
create index webhook_endpoints_replaying on webhook_endpoints (id) where replay_from is not null;

-- What each endpoint was given. `state`: 0 waiting, 1 leased, 2 delivered, 3 failed. Each lease raises `fence`. `tries`: postcard.
create table webhook_deliveries (
    endpoint bytea not null,
    event bytea not null,
    sequence bigint not null,
    type text not null,
    body text not null,
    state smallint not null,
    attempts integer not null,
    due_at bigint not null,
    give_up_at bigint not null,
    lease_owner text,
    lease_until bigint,
    fence bigint not null,
    tries bytea not null,
    created_at bigint not null,
    changed_at bigint not null,
    constraint webhook_deliveries_pk primary key (endpoint, event)
);
create unique index webhook_deliveries_by_sequence on webhook_deliveries (endpoint, sequence);
create index webhook_deliveries_due on webhook_deliveries (endpoint, due_at, sequence) where state < 2;
create index webhook_deliveries_waiting on webhook_deliveries (give_up_at) where state < 2;
create index webhook_deliveries_ended on webhook_deliveries (changed_at) where state >= 2;

-- What is agreed with merchants, disputes, closings, and challenges by which payers prove again who they are.

-- What is agreed with a merchant in one currency, and what its next closing must know. `cut_off`: 1 daily, 2 twice monthly, 3 monthly,
-- null as the platform's. `fee_rate` in millionths. `closed_to` is a Japanese day since 1970-01-01.
create table arrangements (
    merchant bytea not null,
    currency text not null,
    credit_limit bigint not null,
    fee_rate integer not null,
    cut_off integer,
    closed_to integer not null,
    through bigint not null,
    left_over bigint not null,
    credits bigint not null,
    debits bigint not null,
    disputed bigint not null,
    returned bigint not null,
    adjusted_up bigint not null,
    adjusted_down bigint not null,
    overdrawn bigint not null,
    constraint arrangements_pk primary key (merchant, currency)
);

-- Contested amounts. `state`: 1 open, 2 won by the merchant, 3 lost.
create table disputes (
    id bytea not null,
    payment bytea not null,
    payer bytea not null,
    merchant bytea not null,
    amount bigint not null,
    currency text not null,
    reason text not null,
    evidence text,
    state smallint not null,
    operator bytea not null,
    at bigint not null,
    due_at bigint not null,
    decider bytea,
    ended_at bigint,
    repaid bigint not null,
    constraint disputes_pk primary key (id)
);
create index disputes_open on disputes (due_at) where state = 1;
create index disputes_by_merchant on disputes (merchant, id);
create index disputes_by_payment on disputes (payment, id);

-- Closings, one for each merchant, currency and period. `state`: 1 closed, 2 paid.
create table closings (
    id bytea not null,
    merchant bytea not null,
    currency text not null,
    until integer not null,
    after_entry bigint not null,
    through_entry bigint not null,
    carried bigint not null,
    captured bigint not null,
    refunded bigint not null,
    disputed bigint not null,
    returned bigint not null,
    adjusted bigint not null,
    fee bigint not null,
    tax bigint not null,
    fee_rate integer not null,
    tax_rate integer not null,
    due bigint not null,
    left_over bigint not null,
    state smallint not null,
    at bigint not null,
    reference text,
    operator bytea,
    paid_at bigint,
    constraint closings_pk primary key (id)
);
create unique index closings_period on closings (merchant, currency, until);
create unique index closings_reference on closings (reference) where reference is not null;
create index closings_by_merchant on closings (merchant, id);
create index closings_by_period on closings (until);

-- Challenges. `state`: 1 open, 2 confirmed, 3 used. Confirming is not a commit of the ledger; using is.
create table step_ups (
    id bytea not null,
    user_id bytea not null,
    payee bytea not null,
    amount bigint not null,
    currency text not null,
    fingerprint bytea not null,
    state smallint not null,
    attempts smallint not null,
    at bigint not null,
    expires_at bigint not null,
    constraint step_ups_pk primary key (id)
);
create index step_ups_expiry on step_ups (expires_at);

-- What is agreed with merchants, disputes, closings, and challenges by which payers prove again who they are.

-- What is agreed with a merchant in one currency, and what its next closing must know. `cut_off`: 1 daily, 2 twice monthly, 3 monthly,
-- null as the platform's. `fee_rate` in millionths. `closed_to` is a Japanese day since 1970-01-01.
create table arrangements (
    merchant blob not null,
    currency text not null,
    credit_limit integer not null,
    fee_rate integer not null,
    cut_off integer,
    closed_to integer not null,
    through integer not null,
    left_over integer not null,
    credits integer not null,
    debits integer not null,
    disputed integer not null,
    returned integer not null,
    adjusted_up integer not null,
    adjusted_down integer not null,
    overdrawn integer not null,
    constraint arrangements_pk primary key (merchant, currency)
) strict, without rowid;

-- Contested amounts. `state`: 1 open, 2 won by the merchant, 3 lost.
create table disputes (
    id blob not null,
    payment blob not null,
    payer blob not null,
    merchant blob not null,
    amount integer not null,
    currency text not null,
    reason text not null,
    evidence text,
    state integer not null,
    operator blob not null,
    at integer not null,
    due_at integer not null,
    decider blob,
    ended_at integer,
    repaid integer not null,
    constraint disputes_pk primary key (id)
) strict, without rowid;
create index disputes_open on disputes (due_at) where state = 1;
create index disputes_by_merchant on disputes (merchant, id);
create index disputes_by_payment on disputes (payment, id);

-- Closings, one for each merchant, currency and period. `state`: 1 closed, 2 paid.
create table closings (
    id blob not null,
    merchant blob not null,
    currency text not null,
    until integer not null,
    after_entry integer not null,
    through_entry integer not null,
    carried integer not null,
    captured integer not null,
    refunded integer not null,
    disputed integer not null,
    returned integer not null,
    adjusted integer not null,
    fee integer not null,
    tax integer not null,
    fee_rate integer not null,
    tax_rate integer not null,
    due integer not null,
    left_over integer not null,
    state integer not null,
    at integer not null,
    reference text,
    operator blob,
    paid_at integer,
    constraint closings_pk primary key (id)
) strict, without rowid;
create unique index closings_period on closings (merchant, currency, until);
create unique index closings_reference on closings (reference) where reference is not null;
create index closings_by_merchant on closings (merchant, id);
create index closings_by_period on closings (until);

-- Challenges. `state`: 1 open, 2 confirmed, 3 used. Confirming is not a commit of the ledger; using is.
create table step_ups (
    id blob not null,
    user_id blob not null,
    payee blob not null,
    amount integer not null,
    currency text not null,
    fingerprint blob not null,
    state integer not null,
    attempts integer not null,
    at integer not null,
    expires_at integer not null,
    constraint step_ups_pk primary key (id)
) strict, without rowid;
create index step_ups_expiry on step_ups (expires_at);

-- Bonus in lots that end, and the campaigns that grant them.

-- Campaigns. `granted` never passes `budget`: both are read and written in the commit that grants. `open`: 1 while it grants.
create table campaigns (
    id bytea not null,
    name text not null,
    budget bigint not null,
    currency text not null,
    granted bigint not null,
    open smallint not null,
    ends_at bigint,
    at bigint not null,
    constraint campaigns_pk primary key (id)
);

-- Lots. The sum of `remaining` over a user's lots of one currency is the balance of the user's bonus account; `held` is the part of it that
-- payments hold. `ended_at` is set when an operator took the lot back or the account was closed.
create table bonus_lots (
    id bytea not null,
    user_id bytea not null,
    campaign bytea not null,
    amount bigint not null,
    currency text not null,
    remaining bigint not null,
    held bigint not null,
    usable_from bigint not null,
    expires_at bigint not null,
    ended_at bigint,
    at bigint not null,
    constraint bonus_lots_pk primary key (id)
);
create index bonus_lots_in_wallet on bonus_lots (user_id, currency) where remaining > 0;
create index bonus_lots_by_user on bonus_lots (user_id, id);
create index bonus_lots_due on bonus_lots (expires_at, id) where remaining > held;

-- What of a refund went back to lots, and what had been paid from lots that were over.
alter table refunds add column bonus bigint not null default 0;
alter table refunds add column lapsed bigint not null default 0;

-- Rates that plugins read from their feeds, and prices that they named, for PostgreSQL.

-- When each feed is asked next, and how it went last. `problem` is empty if all went well.
create table feeds (
    plugin text not null,
    due_at bigint not null,
    read_at bigint not null,
    problem text not null,
    constraint feeds_pk primary key (plugin)
);

-- The newest rate of each pair of a plugin: `mantissa` with `scale` decimals of the quote currency for one unit of the base.
create table market_rates (
    plugin text not null,
    base text not null,
    quote text not null,
    mantissa bigint not null,
    scale smallint not null,
    at bigint not null,
    constraint market_rates_pk primary key (plugin, base, quote)
);

-- Prices that were named to users. `rate` in ten-thousandths; `mid` as a decimal in text; `last_good`: 1 if an earlier quote was named again.
create table quotes (
    id bytea not null,
    user_id bytea not null,
    plugin text not null,
    component bytea not null,
    decision bytea not null,
    sell_amount bigint not null,
    sell_currency text not null,
    buy_amount bigint not null,
    buy_currency text not null,
    asked_amount bigint not null,
    asked_currency text not null,
    base text not null,
    quote text not null,
    rate bigint not null,
    mid text not null,
    fixed_at bigint not null,
    at bigint not null,
    expires_at bigint not null,
    last_good smallint not null,
    constraint quotes_pk primary key (id)
);
create index quotes_by_side on quotes (plugin, sell_currency, buy_currency, last_good, id);

-- Rates that plugins read from their feeds, and prices that they named, for SQLite.

-- When each feed is asked next, and how it went last. `problem` is empty if all went well.
create table feeds (
    plugin text not null,
    due_at integer not null,
    read_at integer not null,
    problem text not null,
    constraint feeds_pk primary key (plugin)
) strict;

-- The newest rate of each pair of a plugin: `mantissa` with `scale` decimals of the quote currency for one unit of the base.
create table market_rates (
    plugin text not null,
    base text not null,
    quote text not null,
    mantissa integer not null,
    scale integer not null,
    at integer not null,
    constraint market_rates_pk primary key (plugin, base, quote)
) strict, without rowid;

-- Prices that were named to users. `rate` in ten-thousandths; `mid` as a decimal in text; `last_good`: 1 if an earlier quote was named again.
create table quotes (
    id blob not null,
    user_id blob not null,
    plugin text not null,
    component blob not null,
    decision blob not null,
    sell_amount integer not null,
    sell_currency text not null,
    buy_amount integer not null,
    buy_currency text not null,
    asked_amount integer not null,
    asked_currency text not null,
    base text not null,
    quote text not null,
    rate integer not null,
    mid text not null,
    fixed_at integer not null,
    at integer not null,
    expires_at integer not null,
    last_good integer not null,
    constraint quotes_pk primary key (id)
) strict, without rowid;
create index quotes_by_side on quotes (plugin, sell_currency, buy_currency, last_good, id);

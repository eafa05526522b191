-- What plugins hear: how far each has come, what it has remembered, what was granted for it, and what it could not take.

-- `per_user`: the most that one user may ever have from a campaign, minor units. A campaign that is bound to a budget of a plugin grants what that
-- plugin asks for, in lots that last `bound_days`; without it operators alone have it grant.
alter table campaigns add column per_user integer;
alter table campaigns add column bound_plugin text;
alter table campaigns add column bound_budget text;
alter table campaigns add column bound_days integer;
-- Not unique: two operators who bind at the same moment must not fail the commit that others are in. The latest counts.
create index campaigns_bound on campaigns (bound_plugin, bound_budget, id) where bound_plugin is not null;
create index bonus_lots_of_campaign on bonus_lots (campaign, user_id, amount);

-- How far a plugin has heard: all of the pages of the outbox up to `sequence`, and `place` news of the next one. `version` is the id of the work
-- that made it so: whatever was made for another version is not taken. `attempts` counts faults at the next event, `kept` and `kept_bytes` what it
-- has remembered, `parked` what waits for an operator. `owner` has it to itself until `leased_until`.
create table subscriptions (
    plugin blob not null,
    name text not null,
    version blob not null,
    sequence integer not null,
    place integer not null,
    attempts integer not null,
    heard integer not null,
    parked integer not null,
    kept integer not null,
    kept_bytes integer not null,
    since integer not null,
    changed_at integer not null,
    owner text,
    leased_until integer not null,
    constraint subscriptions_pk primary key (plugin)
) strict, without rowid;

-- Values that plugins have remembered, about a user or about their scope (16 zero bytes).
create table plugin_values (
    plugin blob not null,
    about blob not null,
    name text not null,
    value blob not null,
    expires_at integer,
    constraint plugin_values_pk primary key (plugin, about, name)
) strict, without rowid;
create index plugin_values_over on plugin_values (plugin, expires_at) where expires_at is not null;

-- Bonus that was granted for plugins, once for each budget and event. `taken`: how much of it should have gone back since its payment was refunded.
create table plugin_gifts (
    plugin blob not null,
    budget text not null,
    event blob not null,
    lot blob not null,
    payment blob,
    granted integer not null,
    taken integer not null,
    constraint plugin_gifts_pk primary key (plugin, budget, event)
) strict, without rowid;
create index plugin_gifts_of_payment on plugin_gifts (plugin, payment) where payment is not null;

-- Events that a plugin could not take.
create table parked_events (
    plugin blob not null,
    event blob not null,
    kind text not null,
    merchant blob,
    body text not null,
    at integer not null,
    reason text not null,
    decision blob,
    parked_at integer not null,
    constraint parked_events_pk primary key (plugin, event)
) strict, without rowid;

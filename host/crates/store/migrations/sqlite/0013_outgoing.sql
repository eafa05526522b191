-- Flows that take money out: what they have set aside, and the bills that they pay.

-- What a flow began as: 1 charge, 2 withdraw, 3 link-account, 4 pay-bill, 5 sync, 6 event. All that there are before this were charges.
alter table flows add column beginning integer not null default 1;
create index flows_of_user on flows (user_id, beginning, id);

-- What flows have set aside for partners. `purpose`: 1 bill. `held` is what still is, `parts` what it is taken from (postcard).
create table flow_holds (
    flow blob not null,
    key text not null,
    plugin blob not null,
    user_id blob not null,
    currency text not null,
    purpose integer not null,
    amount integer not null,
    held integer not null,
    captured integer not null,
    parts blob not null,
    at integer not null,
    constraint flow_holds_pk primary key (flow, key)
) strict, without rowid;
create index flow_holds_open on flow_holds (flow, key) where held > 0;

-- Bills, each with the flow that pays or has paid it; none since that flow came to nothing.
create table bills (
    plugin blob not null,
    biller text not null,
    reference text not null,
    flow blob,
    at integer not null,
    constraint bills_pk primary key (plugin, biller, reference)
) strict, without rowid;

-- Captures that no settlement has listed.
create index partner_references_in_transit on partner_references (plugin, at) where side = 3 and released = 0 and state = 6;

-- Flows that take money out: what they have set aside, and the bills that they pay.

-- What a flow began as: 1 charge, 2 withdraw, 3 link-account, 4 pay-bill, 5 sync, 6 event. All that there are before this were charges.
alter table flows add column beginning smallint not null default 1;
create index flows_of_user on flows (user_id, beginning, id);

-- What flows have set aside for partners. `purpose`: 1 bill. `held` is what still is, `parts` what it is taken from (postcard).
create table flow_holds (
    flow bytea not null,
    key text not null,
    plugin bytea not null,
    user_id bytea not null,
    currency text not null,
    purpose smallint not null,
    amount bigint not null,
    held bigint not null,
    captured bigint not null,
    parts bytea not null,
    at bigint not null,
    constraint flow_holds_pk primary key (flow, key)
);
create index flow_holds_open on flow_holds (flow, key) where held > 0;

-- Bills, each with the flow that pays or has paid it; none since that flow came to nothing.
create table bills (
    plugin bytea not null,
    biller text not null,
    reference text not null,
    flow bytea,
    at bigint not null,
    constraint bills_pk primary key (plugin, biller, reference)
);

-- Captures that no settlement has listed.
create index partner_references_in_transit on partner_references (plugin, at) where side = 3 and released = 0 and state = 6;

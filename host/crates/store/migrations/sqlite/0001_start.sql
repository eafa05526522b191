-- The first tables of Koban, for SQLite. The same names stand in the other dialect's file.
-- Ids have 16 bytes, digests and hashes 32; times are Unix milliseconds; amounts are minor units; flags are 0 or 1.

-- ---- the ledger -------------------------------------------------------------------------------------------------------

-- One row per lane, locked first by every commit: it orders all writers of all hosts. The ends of the three chains that a
-- commit may move on (entries, record pages, outbox pages), the generation of the policy that commits are decided under, and
-- the count of commits: a writer that finds it as it left it knows that nobody wrote in between.
create table lane_heads (
    lane integer not null,
    sequence integer not null,
    hash blob not null,
    at integer not null,
    generation integer not null,
    record_sequence integer not null,
    record_hash blob not null,
    outbox_sequence integer not null,
    commits integer not null,
    constraint lane_heads_pk primary key (lane)
) strict;

insert into lane_heads (lane, sequence, hash, at, generation, record_sequence, record_hash, outbox_sequence, commits)
values (0, 0, zeroblob(32), 0, 0, 0, zeroblob(32), 0, 0);

-- Four sums per account, each growing only. `owner` is the user, the merchant or the plugin; zeros for the platform.
create table accounts (
    id blob not null,
    class integer not null,
    owner blob not null,
    currency text not null,
    debits_posted integer not null,
    credits_posted integer not null,
    debits_pending integer not null,
    credits_pending integer not null,
    constraint accounts_pk primary key (id)
) strict, without rowid;

-- The journal. `postings` holds the entry's postings as it was hashed, 37 bytes each (class, owner, currency, side, amount,
-- balance): the chain can be checked and exported from this one table in the order of its key, and the table of postings,
-- which serves statements, can be compared with it or built again from it. An index of postings by sequence would cost more.
-- `records` holds the digests of the records behind the entry, 32 bytes each.
create table entries (
    sequence integer not null primary key,
    id blob not null,
    kind integer not null,
    at integer not null,
    actor text not null,
    subject blob not null,
    reverses blob,
    postings blob not null,
    records blob not null,
    meta text not null,
    hash blob not null
) strict;

-- What happened on each account, with the balance after it on the account's normal side. `side` is 0 for debit, 1 for credit.
create table postings (
    account blob not null,
    sequence integer not null,
    ordinal integer not null,
    side integer not null,
    amount integer not null,
    balance integer not null,
    constraint postings_pk primary key (account, sequence, ordinal)
) strict, without rowid;

-- Decided operations; a key lives for ever. `outcome` is the postcard of an answer or a refusal.
create table operations (
    key blob not null,
    fingerprint blob not null,
    outcome blob not null,
    at integer not null,
    constraint operations_pk primary key (key)
) strict, without rowid;

-- What a user has used of a limit. `rule` is ten times the action and the window; `period` a day since 1970 or a month since
-- year 0, in Japan.
create table counters (
    user_id blob not null,
    rule integer not null,
    period integer not null,
    currency text not null,
    total integer not null,
    constraint counters_pk primary key (user_id, rule, period, currency)
) strict, without rowid;

-- What each plugin may still cost: unsettled credits against a cap, losses against a budget.
create table exposures (
    plugin blob not null,
    currency text not null,
    cap integer not null,
    used integer not null,
    loss_budget integer not null,
    lost integer not null,
    constraint exposures_pk primary key (plugin, currency)
) strict, without rowid;

-- Partners' references, unique for ever per plugin and side. `side`: 1 credit, 2 reversal, 3 capture, 4 fee. `state`:
-- 1 credited, 2 suspended, 3 tombstoned, 4 reversed, 5 written off. `reverses_reference`: which credit a reversal takes back.
create table partner_references (
    plugin blob not null,
    side integer not null,
    reference text not null,
    state integer not null,
    amount integer not null,
    currency text not null,
    flow blob,
    user_id blob,
    entry blob,
    reversed integer not null,
    reversed_listed integer not null,
    exposed integer not null,
    listed integer not null,
    released integer not null,
    reverses_reference text,
    at integer not null,
    constraint partner_references_pk primary key (plugin, side, reference)
) strict, without rowid;
create index partner_references_by_flow on partner_references (flow) where flow is not null;
create index partner_references_unsettled on partner_references (plugin, at) where side = 1 and released = 0 and state < 3;

-- Lines of settlement files that do not match our books; open until an operator closes them.
create table differences (
    plugin blob not null,
    side integer not null,
    reference text not null,
    ours integer not null,
    theirs integer not null,
    currency text not null,
    file blob not null,
    at integer not null,
    open integer not null,
    constraint differences_pk primary key (plugin, side, reference)
) strict, without rowid;
create index differences_open on differences (plugin, at) where open = 1;

-- Settlement files that the books have taken, by content: the same file twice changes nothing.
create table settlement_files (
    plugin blob not null,
    digest blob not null,
    id blob not null,
    matched integer not null,
    differences integer not null,
    at integer not null,
    constraint settlement_files_pk primary key (plugin, digest)
) strict, without rowid;

-- Settlement files as they came, before anything is made of them. `status`: 0 waiting, 1 taken, 2 unreadable (`note` says why).
create table file_contents (
    plugin blob not null,
    digest blob not null,
    id blob not null,
    content blob not null,
    status integer not null,
    note text,
    at integer not null,
    constraint file_contents_pk primary key (plugin, digest),
    constraint file_contents_id unique (id)
) strict;
create index file_contents_waiting on file_contents (at) where status = 0;

-- Who gets the calls with a correlation: the first flow that expects it, for ever. No flow: a call came before any did.
create table expectations (
    plugin blob not null,
    correlation text not null,
    flow blob,
    key text not null,
    at integer not null,
    constraint expectations_pk primary key (plugin, correlation)
) strict, without rowid;

-- Windowed counters over payments, one ring (postcard) per subject. Advisory.
create table signals (
    subject blob not null,
    ring blob not null,
    constraint signals_pk primary key (subject)
) strict, without rowid;

-- The records of one commit: lz4 of the postcard of a list of (id, canonical bytes). Pages are chained: each hash covers the
-- one before it. A record is found through the span of ids of its page; no index row is kept per record.
create table record_pages (
    sequence integer not null primary key,
    first_id blob not null,
    last_id blob not null,
    count integer not null,
    page blob not null,
    hash blob not null,
    at integer not null
) strict;
create index record_pages_by_last_id on record_pages (last_id, first_id);

-- News of one commit, written with it and read in order: lz4 of the postcard of a list of news.
create table outbox (
    sequence integer not null primary key,
    count integer not null,
    page blob not null,
    at integer not null
) strict;

-- ---- people and their dealings ----------------------------------------------------------------------------------------

-- Wallet users. `kind`: 1 prepaid, 2 verified (funds).
create table users (
    id blob not null,
    kind integer not null,
    created_at integer not null,
    display_name text not null,
    email text,
    password_hash text,
    locale text not null,
    constraint users_pk primary key (id),
    constraint users_email unique (email)
) strict;

-- Merchants. `currencies` is a list of codes with commas; `category` is ISO 18245.
create table merchants (
    id blob not null,
    name text not null,
    category text not null,
    currencies text not null,
    created_at integer not null,
    constraint merchants_pk primary key (id)
) strict;

-- Payments. Ids are time-ordered: newest first is by id, descending.
create table payments (
    id blob not null,
    payer blob not null,
    merchant blob not null,
    amount integer not null,
    currency text not null,
    from_prepaid integer not null,
    from_funds integer not null,
    refunded_prepaid integer not null,
    refunded_funds integer not null,
    reference text,
    decision blob,
    at integer not null,
    constraint payments_pk primary key (id)
) strict, without rowid;
create index payments_by_payer on payments (payer, id);
create index payments_by_merchant on payments (merchant, id);
create unique index payments_merchant_reference on payments (merchant, reference) where reference is not null;

-- Refunds of payments.
create table refunds (
    id blob not null,
    payment blob not null,
    merchant blob not null,
    payer blob not null,
    amount integer not null,
    currency text not null,
    repaid integer not null,
    at integer not null,
    constraint refunds_pk primary key (id)
) strict, without rowid;
create index refunds_by_payment on refunds (payment, id);

-- Transfers. A user's are listed through the postings of the user's funds account (entries of kind 5 name the transfer as
-- their subject): two more indexes here would say the same again.
create table transfers (
    id blob not null,
    sender blob not null,
    receiver blob not null,
    amount integer not null,
    currency text not null,
    message text,
    decision blob,
    at integer not null,
    constraint transfers_pk primary key (id)
) strict, without rowid;

-- Which user has paid which merchant before.
create table payees (
    user_id blob not null,
    payee blob not null,
    constraint payees_pk primary key (user_id, payee)
) strict, without rowid;

-- ---- flows ------------------------------------------------------------------------------------------------------------

-- Flows as they stand; `body` is the postcard of the whole. `standing`: 1 waiting for the user, 2 waiting for a partner,
-- 3 checking, 4 done, 5 failed, 6 cancelled (4 and above are final). The other columns repeat what lists ask for.
create table flows (
    id blob not null,
    plugin text not null,
    user_id blob not null,
    digest blob not null,
    standing integer not null,
    stuck integer not null,
    version integer not null,
    opened_at integer not null,
    changed_at integer not null,
    final_at integer,
    body blob not null,
    constraint flows_pk primary key (id)
) strict;
create index flows_by_user on flows (user_id, id);
create index flows_by_plugin on flows (plugin, id);
create index flows_open on flows (id) where standing < 4;
create index flows_stuck on flows (id) where stuck = 1;

-- What waits in a flow's inbox, consumed in order of place. `what` is the postcard of the event's content; `number` is the
-- event's number in its flow once it was consumed.
create table flow_inbox (
    place integer not null primary key autoincrement,
    flow blob not null,
    key text not null,
    what blob not null,
    call blob,
    at integer not null,
    consumed integer not null,
    number integer
) strict;
create index flow_inbox_by_flow on flow_inbox (flow, place);
create index flow_inbox_waiting on flow_inbox (place) where consumed = 0;

-- Effects that somebody does after the commit. `state`: 0 queued, 1 leased, 2 done, 3 cancelled. `repeat`: 1 if it may be
-- repeated. Each lease raises `fence`: whoever holds an older one has lost the effect.
create table flow_effects (
    flow blob not null,
    key text not null,
    act blob not null,
    due_at integer not null,
    repeat integer not null,
    deadline integer not null,
    state integer not null,
    attempts integer not null,
    lease_owner text,
    lease_until integer,
    fence integer not null,
    queued_at integer not null,
    constraint flow_effects_pk primary key (flow, key)
) strict;
create index flow_effects_due on flow_effects (due_at) where state < 2;

-- Partners' calls by what makes them the same call, with the flow event they became or the reply that was given.
create table inbound_calls (
    key blob not null,
    plugin blob not null,
    operation text not null,
    correlation text not null,
    flow blob,
    place integer,
    reply blob,
    at integer not null,
    constraint inbound_calls_pk primary key (key)
) strict;

-- ---- access and operation ---------------------------------------------------------------------------------------------

-- Operators of the platform.
create table operators (
    id blob not null,
    name text not null,
    email text not null,
    password_hash text not null,
    created_at integer not null,
    constraint operators_pk primary key (id),
    constraint operators_email unique (email)
) strict;

-- Signed-in sessions by the hash of their token. `owner_kind`: 1 user, 2 operator.
create table sessions (
    token_hash blob not null,
    id blob not null,
    owner_kind integer not null,
    owner_id blob not null,
    created_at integer not null,
    expires_at integer not null,
    last_seen integer not null,
    device text,
    constraint sessions_pk primary key (token_hash),
    constraint sessions_id unique (id)
) strict;
create index sessions_by_owner on sessions (owner_id);
create index sessions_by_expiry on sessions (expires_at);

-- Merchants' API keys by their hash. `scopes` is a list with commas.
create table api_keys (
    hash blob not null,
    id blob not null,
    merchant blob not null,
    name text not null,
    scopes text not null,
    created_at integer not null,
    expires_at integer,
    revoked_at integer,
    constraint api_keys_pk primary key (hash),
    constraint api_keys_id unique (id)
) strict;
create index api_keys_by_merchant on api_keys (merchant, id);

-- The audit log, chained: each hash covers the one before it. Its end stands in audit_head, which writers lock first (after
-- the lane's head, where both are needed).
create table audit (
    sequence integer not null primary key,
    id blob not null,
    at integer not null,
    actor text not null,
    act text not null,
    subject text not null,
    detail text not null,
    hash blob not null,
    constraint audit_id unique (id)
) strict;
create index audit_by_actor on audit (actor, sequence);
create index audit_by_act on audit (act, sequence);
create index audit_by_subject on audit (subject, sequence);

-- The end of the audit log's chain: one row.
create table audit_head (
    lane integer not null,
    sequence integer not null,
    hash blob not null,
    constraint audit_head_pk primary key (lane)
) strict;

insert into audit_head (lane, sequence, hash) values (0, 0, zeroblob(32));

-- Installed plugins. `key` is the plugin as accounts and references name it; `settings` the digest of its settings; `state`
-- one of installed, enabled, disabled, quarantined, removed. A commit takes `enabled` rows as in force.
create table plugins (
    id text not null,
    key blob not null,
    kind text not null,
    version text not null,
    digest blob not null,
    manifest text not null,
    settings blob not null,
    state text not null,
    scope text not null,
    installed_at integer not null,
    changed_at integer not null,
    constraint plugins_pk primary key (id),
    constraint plugins_key unique (key)
) strict;

-- Component bytes by digest, with the manifest they came with (JSON). Kept while a record names them.
create table components (
    digest blob not null,
    bytes blob not null,
    manifest text not null,
    at integer not null,
    constraint components_pk primary key (digest)
) strict;

-- Settings by digest (postcard of the list of named values), as records name them.
create table plugin_settings (
    digest blob not null,
    body blob not null,
    constraint plugin_settings_pk primary key (digest)
) strict;

-- Components that nothing may rest on any more.
create table revoked_digests (
    digest blob not null,
    reason text not null,
    at integer not null,
    constraint revoked_digests_pk primary key (digest)
) strict;

-- Limits with the day from which they apply. Codes: wallet 1 prepaid, 2 funds; action 1 charge, 2 pay, 3 send, 4 hold;
-- win 1 once, 2 day, 3 month.
create table limits (
    wallet integer not null,
    action integer not null,
    win integer not null,
    currency text not null,
    amount integer not null,
    valid_from integer not null,
    constraint limits_pk primary key (wallet, action, win, currency, valid_from)
) strict;

-- What operators decided beside limits: `fraud.on_fault` and `fraud.on_missing` hold a verdict's word.
create table policy_settings (
    name text not null,
    value text not null,
    constraint policy_settings_pk primary key (name)
) strict;

-- Where a plugin's partners are and the secret shared with each. `key_id` names the key that sealed the secret; empty if none
-- did. `allow_private`: the operator lets this endpoint have a private address.
create table endpoints (
    plugin text not null,
    name text not null,
    base text not null,
    secret blob not null,
    key_id text not null,
    allow_private integer not null,
    changed_at integer not null,
    constraint endpoints_pk primary key (plugin, name)
) strict;

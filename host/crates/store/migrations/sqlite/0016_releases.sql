-- Packages, publishers and the life of releases, for SQLite. The same names stand in the other dialect's file.

-- Who signs packages. `state`: 1 known, 2 trusted, 3 revoked. `key`: an Ed25519 public key.
create table publishers (
    name text not null,
    key blob not null,
    state integer not null,
    note text not null,
    added_at integer not null,
    changed_at integer not null,
    constraint publishers_pk primary key (name),
    constraint publishers_key unique (key)
) strict;

-- Every component that was uploaded for a plugin. `state`: uploaded, verified, installed or removed. `publisher`: who signed it; nobody
-- if an operator took it unsigned, or if it came before packages were signed. `package`: the digest that was signed; `signature`: key
-- and signature. `documents`: the postcard of a list of (name, bytes). `settings`: what it is given where it was not before. `consent`:
-- what an operator accepted.
create table releases (
    plugin text not null,
    digest blob not null,
    version text not null,
    manifest text not null,
    state text not null,
    publisher text,
    package blob,
    signature blob,
    documents blob not null,
    settings blob,
    consent blob,
    at integer not null,
    changed_at integer not null,
    constraint releases_pk primary key (plugin, digest)
) strict;
create index releases_by_publisher on releases (publisher) where publisher is not null;

-- Where a release stands, scope by scope. `scope`: `platform`, a merchant's id, or that, `/` and a store's name. `share`: a canary's, in
-- thousandths. `replaced`: what was enabled before it.
create table enablements (
    plugin text not null,
    scope text not null,
    digest blob not null,
    state text not null,
    share integer not null,
    settings blob not null,
    consent blob not null,
    replaced blob,
    changed_at integer not null,
    constraint enablements_pk primary key (plugin, scope, digest)
) strict;

-- Which records are of calls in shadow: what was asked beside which decision, and what each said. Verdicts: 1 allow, 2 step-up,
-- 3 review, 4 decline; `verdict` is absent where the call faulted.
create table shadow_calls (
    decision blob not null,
    beside blob,
    plugin text not null,
    digest blob not null,
    subject text not null,
    decided integer not null,
    verdict integer,
    at integer not null,
    constraint shadow_calls_pk primary key (decision)
) strict, without rowid;
create index shadow_calls_by_release on shadow_calls (plugin, digest, decision);

-- What is installed already goes on as it stands.
insert into releases (plugin, digest, version, manifest, state, documents, settings, at, changed_at)
    select id, digest, version, manifest, 'installed', x'00', settings, installed_at, changed_at from plugins where state <> 'removed';
insert into enablements (plugin, scope, digest, state, share, settings, consent, changed_at)
    select id, 'platform', digest, state, 0, settings, zeroblob(32), changed_at from plugins
    where state in ('enabled', 'disabled', 'quarantined');

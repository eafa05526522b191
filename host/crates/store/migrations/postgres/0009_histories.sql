-- Statements without a table of their own, for PostgreSQL: every entry of a transfer wrote two rows there, each at a random place of a growing index.
-- `migrations/ninth.rs` fills the columns from the journal in the same transaction.

-- For each posting, in the order of `postings`, the entry before this one that moved the same account, as a list in JSON: 0 if there
-- is none, or if this entry only sets aside or frees.
alter table entries add column previous text not null default '';

-- `moved`: how many entries have moved the account. `last`: the last of them.
alter table accounts add column moved bigint not null default 0;
alter table accounts add column last bigint not null default 0;

-- Every 64th entry that moved an account: the way into the middle of its history.
create table account_marks (
    account bytea not null,
    sequence bigint not null,
    constraint account_marks_pk primary key (account, sequence)
);

drop table postings;

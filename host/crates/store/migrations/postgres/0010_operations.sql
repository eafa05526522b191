-- Operations stand in the order in which they came, with their keys in an index: PostgreSQL keeps every table so, SQLite from here on.
comment on table operations is 'in the order in which they came';

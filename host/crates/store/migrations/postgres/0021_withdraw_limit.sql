-- What a wallet of funds may take out in a day, for databases whose limits were written before there was anything to take out by: no row would
-- be no limit. An empty database gets all rows when its first host starts.
insert into limits (wallet, action, win, currency, amount, valid_from)
select 2, 5, 2, 'JPY', 100000, 0
where exists (select 1 from limits) and not exists (select 1 from limits where wallet = 2 and action = 5);

-- Everything in the pool, at one moment.
--
-- Returns {now, millisecond from which it grants, Redis's clock, BOOK, DUE}, the last two as flat lists.

schedule()
return {now, opens, wall, call('HGETALL', BOOK), call('ZRANGE', DUE, 0, -1, 'WITHSCORES')}

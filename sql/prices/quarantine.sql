insert into quarantined_bar (ticker, session, reason, bar, source)
select distinct coalesce(refused.ticker, ''), session, reason,
    jsonb_build_object('open', open, 'high', high, 'low', low, 'close', close, 'volume', volume), %(source)s
from unnest(%(ticker)s::text[], %(session)s::date[], %(reason)s::text[],
            %(open)s::double precision[], %(high)s::double precision[], %(low)s::double precision[],
            %(close)s::double precision[], %(volume)s::double precision[])
    as refused(ticker, session, reason, open, high, low, close, volume)
on conflict on constraint quarantined_bar_once do update set last_seen_at = clock_timestamp();

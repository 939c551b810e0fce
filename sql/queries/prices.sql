-- name: fetch_ranges
-- The fetch range of each ticker: from a few stored bars before the first requested session, or before a missing
-- session shortly before it, to the last requested session or the newest stored bar, whichever is later. first_session is
-- NULL for a ticker with too few stored bars, which needs the whole history.
select asked.ticker, overlap.first_session, greatest(asked.last, edge.newest) as last_session
from unnest(%(tickers)s::text[], %(firsts)s::date[], %(lasts)s::date[]) as asked (ticker, first, last)
cross join lateral (
    select min(session) as oldest, max(session) as newest from bar where bar.ticker = asked.ticker
) as edge
cross join lateral (
    select min(recent.session) as session
    from unnest(%(recent)s::date[]) as recent (session)
    where recent.session > edge.oldest
      and not exists (select from bar where bar.ticker = asked.ticker and bar.session = recent.session)
) as hole
left join lateral (
    select distinct session as first_session
    from bar
    where bar.ticker = asked.ticker and session < least(asked.first, hole.session)
    order by session desc
    offset %(overlap)s::integer - 1 limit 1
) as overlap on true;

-- name: lock
select pg_advisory_xact_lock(hashtextextended('ldtm bars ' || current_schema(), 0));

-- name: recorded_at
-- Later than every vintage of the restated bars, even if the server's clock was set back.
select greatest(clock_timestamp(), max(recorded_at) + interval '1 microsecond')
from bar where ticker = any(%(tickers)s::text[]);

-- name: add_splits
-- A split that the stored bars already contain gets the recording time of the first of them, so that it restates nothing.
insert into split (ticker, session, ratio, origin, recorded_at)
select new.ticker, new.session, new.ratio, %(origin)s,
       case when %(is_applied)s
            then coalesce((select min(recorded_at) from bar where bar.ticker = new.ticker), %(recorded_at)s)
            else %(recorded_at)s end
from unnest(%(tickers)s::text[], %(sessions)s::date[], %(ratios)s::double precision[]) as new(ticker, session, ratio);

-- name: add_bars
copy bar (ticker, session, open, high, low, close, volume, source, recorded_at) from stdin (format csv)

-- name: quarantine
insert into quarantined_bar (ticker, session, reason, bar, source)
select distinct coalesce(refused.ticker, ''), session, reason,
    jsonb_build_object('open', open, 'high', high, 'low', low, 'close', close, 'volume', volume), %(source)s
from unnest(%(ticker)s::text[], %(session)s::date[], %(reason)s::text[],
            %(open)s::double precision[], %(high)s::double precision[], %(low)s::double precision[],
            %(close)s::double precision[], %(volume)s::double precision[])
    as refused(ticker, session, reason, open, high, low, close, volume)
on conflict on constraint quarantined_bar_once do update set last_seen_at = clock_timestamp();

-- name: open_refusals
select quarantined_id, ticker, session from quarantined_bar
where resolved_at is null and session is not null and ticker = any(%(tickers)s::text[]);

-- name: resolve
update quarantined_bar set resolved_at = clock_timestamp() where quarantined_id = any(%(ids)s::bigint[]);

-- name: seen_in_quarantine
-- All bars ever refused for some sessions. The last two columns: first seen longer ago than the given age; resolved.
select ticker, session, (bar ->> 'open')::float8, (bar ->> 'high')::float8, (bar ->> 'low')::float8,
       (bar ->> 'close')::float8, reason, source, first_seen_at <= clock_timestamp() - %(age)s::interval,
       resolved_at is not null
from unnest(%(tickers)s::text[], %(sessions)s::date[]) as asked(ticker, session)
join quarantined_bar using (ticker, session)
order by ticker, session, first_seen_at, quarantined_id;

-- name: refusals_of
select quarantined_id, ticker, session, (bar ->> 'open')::float8, (bar ->> 'high')::float8, (bar ->> 'low')::float8,
       (bar ->> 'close')::float8, (bar ->> 'volume')::float8, reason, source, first_seen_at
from quarantined_bar
where ticker = %(ticker)s and session = %(session)s and resolved_at is null
order by first_seen_at, quarantined_id;

-- name: splits_since
select session, ratio from split where ticker = %(ticker)s and recorded_at > %(moment)s order by session, split_id;

-- name: open_quarantine
select ticker, session, reason, bar::text, source, first_seen_at, last_seen_at
from quarantined_bar where resolved_at is null
order by ticker, session, first_seen_at;

-- name: recent_bars
copy (
    select asked.ticker, recent.*
    from (select distinct ticker from unnest(%(tickers)s::text[]) as requested(ticker)) as asked
    cross join lateral (
        select distinct on (session) session, open, high, low, close, volume
        from bar
        where bar.ticker = asked.ticker and session <= %(last)s::date
        order by session desc, recorded_at desc
        limit %(num_bars)s::integer
    ) as recent
) to stdout (format csv)

-- name: newest_sessions
-- The newest session with a bar of each ticker, up to a given session.
select u.ticker, newest.session
from unnest(%(tickers)s::text[]) as u (ticker)
cross join lateral (
    select session from bar where bar.ticker = u.ticker and session <= %(last)s order by session desc limit 1) newest;

-- name: bars_as_of
copy (
    select distinct on (ticker, session) ticker, session, open, high, low, close, volume
    from bar
    where ticker = any(%(tickers)s::text[])
      and recorded_at <= %(moment)s::timestamptz
      and session <= coalesce(%(last)s::date, 'infinity')
    order by ticker desc, session desc, recorded_at desc
) to stdout (format csv)

-- name: current_bars
copy (
    select distinct on (ticker, session) ticker, session, open, high, low, close, volume
    from bar
    where ticker = any(%(tickers)s::text[])
      and session between coalesce(%(first)s::date, '-infinity') and coalesce(%(last)s::date, 'infinity')
    order by ticker desc, session desc, recorded_at desc
) to stdout (format csv)

-- name: edges
select asked.ticker, newest.session, before.session, before.close
from unnest(%(tickers)s::text[], %(firsts)s::date[]) as asked(ticker, first)
cross join lateral (
    select session from bar where bar.ticker = asked.ticker order by session desc limit 1
) as newest
left join lateral (
    select session, close from bar
    where bar.ticker = asked.ticker and session < asked.first
    order by session desc, recorded_at desc limit 1
) as before on true;

-- name: known_splits
-- By session: the product of its rows (1, or nearly, after a withdrawal), the origin of the newest row, and the product of
-- the rows that restated the bars before the session: they are newer than the last delivery of those bars.
select s.ticker, s.session, product(s.ratio order by s.split_id), (array_agg(s.origin order by s.split_id desc))[1],
       coalesce(product(s.ratio order by s.split_id) filter (where s.recorded_at > delivered.recorded_at), 1)
from split s
left join lateral (
    select bar.recorded_at from bar
    where bar.ticker = s.ticker and bar.session < s.session and bar.source <> 'split'
    order by bar.session desc, bar.recorded_at desc limit 1
) delivered on true
where s.ticker = any(%(tickers)s::text[])
group by s.ticker, s.session order by s.ticker, s.session;

-- From when on the record of each ticker is expected to be whole: whoever looks for gaps begins there.

select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The first session on that was the ticker's newest one when it was forecast or tried: what a person makes of the past
-- begins nothing. NULL before there is one.
create function record_beginning(tickers text[]) returns table (ticker text, began_on date) stable
begin atomic
    select of_ticker, least(spoken.since, tried.since)
    from unnest(tickers) as of_ticker
    left join lateral (
        select run_date as since
        from snapshot s
        where s.ticker = of_ticker and s.kind <> 'simulated'
          and (s.kind = 'live' or s.recorded_at < (select closes_at from trading_session t where t.session = s.next_day_session))
        order by run_date limit 1
    ) spoken on true
    left join lateral (
        select a.session as since
        from evening_attempt a
        where a.ticker = of_ticker and a.session < coalesce(spoken.since, 'infinity')
          and a.first_attempt_at < (select closes_at from trading_session t where t.session > a.session
                                    order by t.session limit 1)
        order by a.session limit 1
    ) tried on true;
end;

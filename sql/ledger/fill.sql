-- The trigger snapshot_is_written_once works out errors, directions and the moment of filling from the actuals.
update snapshot
set next_day_actual = coalesce(snapshot.next_day_actual, found.next_day),
    next_monday_actual = coalesce(snapshot.next_monday_actual, found.next_monday),
    one_month_actual = coalesce(snapshot.one_month_actual, found.one_month)
from (
    select ticker, run_date,
           max(actual) filter (where horizon = 'next_day') as next_day,
           max(actual) filter (where horizon = 'next_monday') as next_monday,
           max(actual) filter (where horizon = 'one_month') as one_month
    from open_fill
    where has_closed and target_session <= %(as_of)s and actual is not null
      and (%(tickers)s::text[] is null or ticker = any (%(tickers)s::text[]))
    group by ticker, run_date
) found
where snapshot.ticker = found.ticker and snapshot.run_date = found.run_date
returning snapshot.ticker, snapshot.next_day_direction_correct,
          found.next_day is not null, found.next_monday is not null, found.one_month is not null;

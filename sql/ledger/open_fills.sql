select ticker,
       count(*) filter (where horizon = 'next_day' and not is_due) as num_open_next_day,
       count(*) filter (where horizon = 'next_monday' and not is_due) as num_open_next_monday,
       count(*) filter (where horizon = 'one_month' and not is_due) as num_open_one_month,
       count(*) filter (where horizon = 'next_day' and is_due) as num_without_bar_next_day,
       count(*) filter (where horizon = 'next_monday' and is_due) as num_without_bar_next_monday,
       count(*) filter (where horizon = 'one_month' and is_due) as num_without_bar_one_month
from (
    select ticker, horizon, has_closed and target_session <= %(as_of)s as is_due
    from open_fill
    where %(tickers)s::text[] is null or ticker = any (%(tickers)s::text[])
) still_open
group by ticker;

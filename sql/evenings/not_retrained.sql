-- Tickers of which bars are there that the gate's newest judgement of a training knows nothing of, for too many days.
-- With each when that judgement was. One that was never trained counts from when its first bar was recorded.
with late as (
    select clock_timestamp() - make_interval(days => %(days)s) as since
)
select u.ticker, judged.decided_at
from late
cross join unnest(%(tickers)s::text[]) with ordinality u (ticker, place)
left join lateral (
    select decided_at, trained_on from gate_verdict
    where gate_verdict.ticker = u.ticker and trained_on is not null
    order by verdict_id desc limit 1
) judged on true
where case
          when judged.decided_at is null
          then exists (select from bar where bar.ticker = u.ticker and bar.recorded_at < since)
          else judged.decided_at < since
              and exists (select from bar where bar.ticker = u.ticker and bar.session > judged.trained_on)
      end
order by u.place;

-- When each row of a run date was recorded, and whether its ticker has a bar that is as new as it says of its window.
select s.ticker, s.recorded_at, s.bars_recorded_until,
       s.window_sha256 is null or exists (
           select from bar
           where bar.ticker = s.ticker and bar.session <= s.run_date and bar.recorded_at = s.bars_recorded_until)
           as has_its_newest_bar
from snapshot s
where s.run_date = %(run_date)s
order by s.ticker;

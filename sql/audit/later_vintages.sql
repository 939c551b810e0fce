select distinct recorded_at
from bar
where ticker = %(ticker)s and session <= %(last)s and recorded_at > %(moment)s
order by recorded_at;

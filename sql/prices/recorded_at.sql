-- After every vintage of the bars that are restated, even where the server's clock was set back.
select greatest(clock_timestamp(), max(recorded_at) + interval '1 microsecond')
from bar where ticker = any(%(tickers)s::text[]);

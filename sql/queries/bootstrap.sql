-- name: judged
-- Tickers whose newest verdict on a training was decided since a moment, if it is recent enough or the training used
-- every bar up to a session.
select ticker
from (
    select distinct on (ticker) ticker, trained_on, decided_at
    from gate_verdict
    where ticker = any (%(tickers)s::text[]) and trained_on is not null
    order by ticker, verdict_id desc
) verdict
where decided_at >= %(since)s
  and (decided_at >= %(not_before)s
       or not exists (select from bar
                      where bar.ticker = verdict.ticker and bar.session > verdict.trained_on and bar.session <= %(last)s));

select trouble.key
from trouble
join evening_attempt a on a.session = trouble.evening
    and trouble.key = trouble.kind || '/' || to_char(a.session, 'YYYY-MM-DD') || '/' || a.ticker
where trouble.kind in ('ticker', 'deadline') and trouble.ended_at is null and a.done_at is not null
order by trouble.key;

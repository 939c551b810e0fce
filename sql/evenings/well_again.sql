-- Troubles of cells that are whole now, and of those that are open no more: what was tried of these in vain is given up.
select trouble.key, a.ticker is not null and a.done_at is null as is_given_up
from trouble
left join evening_attempt a on a.session = trouble.evening
    and trouble.key = trouble.kind || '/' || to_char(a.session, 'YYYY-MM-DD') || '/' || a.ticker
where trouble.kind in ('ticker', 'deadline') and trouble.ended_at is null
  and (a.done_at is not null
       or not exists (select from unnest(%(open_cells)s::text[]) as cell where trouble.key = trouble.kind || '/' || cell))
order by trouble.key;

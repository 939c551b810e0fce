select key, kind, severity, evening, subject, summary, link, is_news, noticed_at as seen_at
from trouble
where ended_at is null and not is_news
order by evening nulls last, array_position(array['error', 'warning', 'info'], severity), kind, subject, trouble_id;

insert into alert_delivery (alert_id, channel, shown_as)
select alert_id, channel, shown_as
from unnest(%(alert_ids)s::bigint[]) as made (alert_id)
cross join unnest(%(channels)s::text[], %(shown)s::text[]) as address (channel, shown_as);

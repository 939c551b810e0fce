-- A channel that was not there when a message was made gets it as long as no channel has taken it.
insert into alert_delivery (alert_id, channel, shown_as)
select alert_id, channel, shown_as
from alert
cross join unnest(%(channels)s::text[], %(shown)s::text[]) as address (channel, shown_as)
where made_at + make_interval(secs => %(after_seconds)s) > clock_timestamp()
    and not exists (select from alert_delivery d where d.alert_id = alert.alert_id and d.delivered_at is not null)
on conflict (alert_id, channel) do nothing;

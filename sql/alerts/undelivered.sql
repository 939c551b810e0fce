-- By channel: messages that are still tried, and that were given up.
select shown_as, count(*) filter (where given_up_at is null)::int as num_waiting,
       count(given_up_at)::int as num_given_up,
       (array_agg(last_error order by alert_id desc) filter (where last_error is not null))[1] as last_error
from alert_delivery
where delivered_at is null
group by channel, shown_as
order by shown_as;

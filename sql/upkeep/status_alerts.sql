-- The newest messages, and every older one that somebody does not have yet, or did not get in the last week.
select alert_id, made_at, evening, severity, title, undelivered, failed
from alert
cross join lateral (
    select coalesce(array_agg(shown_as order by shown_as) filter (where given_up_at is null), '{}') as undelivered,
           coalesce(array_agg(shown_as || ': ' || coalesce(last_error, 'never tried') order by shown_as)
                    filter (where last_error is not null or given_up_at is not null), '{}') as failed
    from alert_delivery d
    where d.alert_id = alert.alert_id and delivered_at is null
      and (given_up_at is null or given_up_at > clock_timestamp() - interval '7 days')
) d
where alert_id in (select alert_id from alert order by alert_id desc limit %(num_newest)s)
   or undelivered <> '{}' or failed <> '{}'
order by alert_id desc;

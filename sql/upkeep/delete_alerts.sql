-- Messages whose way has ended in every channel; their deliveries go with them.
delete from alert
where alert_id in (
    select alert_id
    from alert
    where made_at < %(before)s
      and not exists (
          select from alert_delivery
          where alert_delivery.alert_id = alert.alert_id and delivered_at is null and given_up_at is null)
    order by alert_id
    limit %(limit)s);

update alert_delivery
set delivered_at = clock_timestamp(), sending_since = null, last_error = null
where alert_id = %(alert_id)s and channel = %(channel)s;

update alert_delivery
set sending_since = null, last_error = %(reason)s, may_have_come = may_have_come or %(may_have_come)s
where alert_id = %(alert_id)s and channel = %(channel)s;

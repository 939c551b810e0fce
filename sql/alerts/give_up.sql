-- What was tried, or has nobody to try it any more: a sender that was away for days makes its first attempt first.
update alert_delivery
set given_up_at = clock_timestamp(), sending_since = null, may_have_come = may_have_come or sending_since is not null
from alert
where alert.alert_id = alert_delivery.alert_id and delivered_at is null and given_up_at is null
    and made_at + make_interval(secs => %(after_seconds)s) <= clock_timestamp()
    and (num_attempts > 0 or channel <> all(%(channels)s::text[]));

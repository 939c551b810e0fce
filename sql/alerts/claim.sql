-- The next delivery that is due, fresh ones first. Whoever is killed while sending leaves sending_since behind, and the
-- time of the next attempt is set already. Only one sender works at a time, so that such a claim is nobody's.
with due as (
    select alert_id, channel
    from alert_delivery
    where delivered_at is null and given_up_at is null and next_attempt_at <= clock_timestamp()
        and channel = any(%(channels)s)
    order by num_attempts, alert_id, channel
    limit 1
    for update
), claimed as (
    update alert_delivery d
    set sending_since = clock_timestamp(), num_attempts = num_attempts + 1,
        may_have_come = may_have_come or sending_since is not null,
        next_attempt_at = clock_timestamp()
            + make_interval(secs => least(%(first_wait)s * 2.0 ^ least(num_attempts, 30), %(longest_wait)s))
    from due
    where d.alert_id = due.alert_id and d.channel = due.channel
    returning d.alert_id, d.channel, d.may_have_come, d.last_error
)
select alert_id, channel, severity, title, body, may_have_come, last_error from claimed join alert using (alert_id);

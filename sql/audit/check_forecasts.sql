-- Every forecast against its event. The hash is worked out here from the columns, by functions of PostgreSQL's own, not
-- by those of the schema, which the owner of the tables could have replaced.
select event_id, 'forecast' as event, ticker, run_date, null as horizon, what
from (
    select e.event_id, coalesce(e.ticker, s.ticker) as ticker, coalesce(e.run_date, s.run_date) as run_date,
           case
               when s.ticker is null then 'missing'
               when e.event_id is null then 'added'
               when e.leaf is distinct from pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                   e.event_id, 'forecast'::text, s.ticker, s.run_date, s.recorded_at, s.kind,
                   s.next_day_session, s.next_monday_session, s.one_month_session, s.run_date_close,
                   s.next_day_pred, s.next_monday_pred, s.one_month_pred, s.direction_pred,
                   pg_catalog.convert_to(s.abstained_reason, 'UTF8'), s.checkpoint_id, s.model_version, s.model_status,
                   s.checkpoint_sha256, s.window_sha256, s.bars_recorded_until))) then 'altered'
               when (s.next_day_session, s.next_monday_session, s.one_month_session) is distinct from (
                   (%(sessions)s::date[])[pg_catalog.width_bucket(s.run_date, %(sessions)s::date[]) + 1],
                   (%(next_mondays)s::date[])[pg_catalog.width_bucket(s.run_date, %(sessions)s::date[])],
                   (%(sessions)s::date[])[pg_catalog.width_bucket(s.run_date, %(sessions)s::date[]) + 21])
                and not exists (
                    select from unnest(%(called_off)s::date[]) day where day > s.run_date and day <= s.one_month_session)
                   then 'mistargeted'
               when (s.next_day_actual is null and pg_catalog.num_nonnulls(
                        s.next_day_pct_error, s.next_day_direction_actual, s.next_day_direction_correct,
                        s.next_day_filled_at) > 0)
                 or (s.next_monday_actual is null
                     and pg_catalog.num_nonnulls(s.next_monday_pct_error, s.next_monday_filled_at) > 0)
                 or (s.one_month_actual is null
                     and pg_catalog.num_nonnulls(s.one_month_pct_error, s.one_month_filled_at) > 0) then 'altered'
               when s.recorded_at < (%(not_before)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                 or s.recorded_at > (%(not_after)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                   then 'misdated'
               when s.kind = 'live'
                and s.recorded_at >= (%(opens)s::timestamptz[])[pg_catalog.width_bucket(s.run_date, %(sessions)s::date[]) + 1]
                   then 'late'
           end as what
    from (select event_id, ticker, run_date, leaf from ledger_event where event = 'forecast') e
    full join snapshot s on s.ticker = e.ticker and s.run_date = e.run_date
) checked
where what is not null
order by event_id nulls last, run_date, ticker
limit 100;

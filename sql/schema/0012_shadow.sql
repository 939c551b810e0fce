-- Shadows: what a model that may not speak would have said. They stand beside the record and never count in it.

select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create table shadow_forecast (
    ticker              text             not null,
    run_date            date             not null,
    checkpoint_id       bigint           not null references checkpoint,
    model_status        text             not null check (model_status in ('candidate', 'retired')),
    recorded_at         timestamptz      not null,
    run_date_close      double precision not null check (run_date_close > 0),
    next_day_pred       double precision not null check (next_day_pred not in ('nan', 'infinity', '-infinity')),
    next_monday_pred    double precision not null check (next_monday_pred not in ('nan', 'infinity', '-infinity')),
    one_month_pred      double precision not null check (one_month_pred not in ('nan', 'infinity', '-infinity')),
    direction_pred      text             not null check (direction_pred in ('bullish', 'neutral', 'bearish')),
    window_sha256       text             not null,
    bars_recorded_until timestamptz      not null,
    primary key (ticker, run_date, checkpoint_id),
    foreign key (ticker, run_date) references snapshot
);

create index shadow_forecast_by_checkpoint on shadow_forecast (checkpoint_id, run_date);

comment on table shadow_forecast is
    'What a candidate or retired model would have said on an evening, beside the row of the ledger that counts.';
comment on column shadow_forecast.model_status is 'Of the model when it spoke.';

create function shadow_forecast_is_dated_by_the_database() returns trigger language plpgsql as $$
begin
    new.recorded_at := clock_timestamp();
    return new;
end $$;

create trigger shadow_forecast_is_dated_by_the_database before insert on shadow_forecast
for each row execute function shadow_forecast_is_dated_by_the_database();
create trigger shadow_forecast_is_append_only before update or delete or truncate on shadow_forecast
for each statement execute function is_append_only();

alter table shadow_forecast enable always trigger shadow_forecast_is_dated_by_the_database;
alter table shadow_forecast enable always trigger shadow_forecast_is_append_only;

-- What came, on the basis that the shadow saw: worked out when it is read, since nothing rests on it.
create view shadow_record as
select f.*, s.kind, s.next_day_session, s.next_monday_session, s.one_month_session,
       f.recorded_at < next_open.opens_at as in_time,
       d.actual as next_day_actual, m.actual as next_monday_actual, o.actual as one_month_actual,
       direction_of(d.actual, f.run_date_close) as next_day_direction_actual,
       case when f.direction_pred <> 'neutral'
            then f.direction_pred = direction_of(d.actual, f.run_date_close) end as next_day_direction_correct
from shadow_forecast f
join snapshot s on s.ticker = f.ticker and s.run_date = f.run_date
join trading_session next_open on next_open.session = s.next_day_session
cross join lateral (select basis_ratio(f.ticker, f.run_date, f.bars_recorded_until) as ratio) basis
left join lateral (
    select bar.close * basis.ratio as actual from bar
    where bar.ticker = f.ticker and bar.session = s.next_day_session
    order by bar.recorded_at desc limit 1) d on true
left join lateral (
    select bar.close * basis.ratio as actual from bar
    where bar.ticker = f.ticker and bar.session = s.next_monday_session
    order by bar.recorded_at desc limit 1) m on true
left join lateral (
    select bar.close * basis.ratio as actual from bar
    where bar.ticker = f.ticker and bar.session = s.one_month_session
    order by bar.recorded_at desc limit 1) o on true;

comment on view shadow_record is 'Shadows with what came; in_time where a shadow was on record before its first target session opened.';

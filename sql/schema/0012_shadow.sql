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

-- A shadow saw what the row beside it saw, is of its ticker, and is not that row's own model. All that is compared is
-- immutable, so that no promotion on the side can make it fail.
create function shadow_forecast_stands_beside_its_row() returns trigger language plpgsql set search_path from current as $$
declare
    beside snapshot;
    model checkpoint;
begin
    new.recorded_at := clock_timestamp();
    select * into beside from snapshot where snapshot.ticker = new.ticker and snapshot.run_date = new.run_date;
    select * into model from checkpoint where checkpoint.checkpoint_id = new.checkpoint_id;
    if (new.window_sha256, new.bars_recorded_until, new.run_date_close)
       is distinct from (beside.window_sha256, beside.bars_recorded_until, beside.run_date_close) then
        raise exception 'the shadow of % on % saw other bars than the row beside it', new.ticker, new.run_date
            using errcode = 'integrity_constraint_violation';
    elsif model.ticker is distinct from new.ticker or model.trained_on > new.run_date then
        raise exception 'checkpoint % is of % and was trained on bars up to %: it cannot speak for % on %',
            new.checkpoint_id, model.ticker, model.trained_on, new.ticker, new.run_date
            using errcode = 'integrity_constraint_violation';
    elsif model.file_removed_at is not null then
        raise exception 'the file of checkpoint % of % was removed: it casts no shadow', new.checkpoint_id, new.ticker
            using errcode = 'integrity_constraint_violation';
    elsif beside.abstained_reason is null and beside.checkpoint_sha256 = model.file_sha256 then
        raise exception 'checkpoint % spoke for % on % itself and is no shadow', new.checkpoint_id, new.ticker, new.run_date
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger shadow_forecast_stands_beside_its_row before insert on shadow_forecast
for each row execute function shadow_forecast_stands_beside_its_row();
create trigger shadow_forecast_is_append_only before update or delete or truncate on shadow_forecast
for each statement execute function is_append_only();

alter table shadow_forecast enable always trigger shadow_forecast_stands_beside_its_row;
alter table shadow_forecast enable always trigger shadow_forecast_is_append_only;

-- What came, on the basis that the shadow saw: the actual on record where the row beside it was filled, so that both
-- are measured by the same price, and else what the bars say now by the rule of open_fill. The split's product is
-- basis_ratio, written out as there.
create view shadow_record as
select f.*, s.kind, s.next_day_session, s.next_monday_session, s.one_month_session,
       f.recorded_at < next_open.opens_at as in_time,
       actual.next_day as next_day_actual, actual.next_monday as next_monday_actual, actual.one_month as one_month_actual,
       pct_error(f.next_day_pred, actual.next_day) as next_day_pct_error,
       pct_error(f.next_monday_pred, actual.next_monday) as next_monday_pct_error,
       pct_error(f.one_month_pred, actual.one_month) as one_month_pct_error,
       case when actual.next_day is not null
            then direction_of(actual.next_day, f.run_date_close) end as next_day_direction_actual,
       case when f.direction_pred <> 'neutral' and actual.next_day is not null
            then f.direction_pred = direction_of(actual.next_day, f.run_date_close) end as next_day_direction_correct
from shadow_forecast f
join snapshot s on s.ticker = f.ticker and s.run_date = f.run_date
join trading_session next_open on next_open.session = s.next_day_session
cross join lateral (
    select max(known.actual) filter (where known.horizon = 'next_day') as next_day,
           max(known.actual) filter (where known.horizon = 'next_monday') as next_monday,
           max(known.actual) filter (where known.horizon = 'one_month') as one_month
    from (
        select h.horizon, coalesce(h.filled, newest.close * (
                   select product(split.ratio order by split.session) from split
                   where split.ticker = f.ticker and split.session > f.run_date
                     and split.recorded_at > f.bars_recorded_until)) as actual
        from (values ('next_day', s.next_day_session, s.next_day_actual),
                     ('next_monday', s.next_monday_session, s.next_monday_actual),
                     ('one_month', s.one_month_session, s.one_month_actual)) h (horizon, target_session, filled)
        join trading_session t on t.session = h.target_session
        left join lateral (
            select bar.close, bar.recorded_at from bar
            where h.filled is null and bar.ticker = f.ticker and bar.session = h.target_session
            order by bar.recorded_at desc limit 1
        ) newest on newest.recorded_at >= t.closes_at
    ) known
) actual;

comment on view shadow_record is 'Shadows with what came; in_time where a shadow was on record before its first target session opened.';

-- Splits that are corrected or withdrawn: another row of the same session, whose ratio is the factor between the two, so
-- that the product of all rows is the split, and 1 after a withdrawal. Both stay on record, and a forecast that was made on
-- the wrong basis is compared with prices times the factor.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table stands for none of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

alter table split add column split_id bigint generated always as identity;
alter table split drop constraint split_pkey;
alter table split add constraint split_pkey primary key (split_id);
create index split_by_session on split (ticker, session, split_id);

-- Where a row comes from: a statement of the source, restated bars, or the operator, whose statement a source does not change.
alter table split add column origin text not null default 'inferred'
    check (origin in ('declared', 'inferred', 'operator'));

comment on table split is
    'Splits by the first session that trades on the new price basis; ratio: new shares for one old share. The product of the rows of a session counts: a later one corrects or withdraws.';

-- In a fixed order, since the products are compared bit by bit. As in migration 0003 otherwise.
create or replace function actuals_are_those_of_the_bars() returns trigger language plpgsql stable set search_path from current as $$
declare
    wrong record;
begin
    execute $query$
    select a.ticker, a.run_date, f.horizon, f.target_session, f.actual as given, due.actual,
           coalesce(clock_timestamp() >= t.closes_at, false) as has_closed, v.ticker is not null as is_voided
    from after_it a
    join before_it b on (b.ticker, b.run_date, b.simulation_id) = (a.ticker, a.run_date, a.simulation_id)
    cross join lateral fills_of(row(a.*)::snapshot) f
    left join trading_session t on t.session = f.target_session
    left join voided_fill v on v.ticker = a.ticker and v.run_date = a.run_date and v.simulation_id = a.simulation_id
        and v.horizon = f.horizon
    left join lateral (
        select bar.close, bar.recorded_at from bar
        where bar.ticker = a.ticker and bar.session = f.target_session
        order by bar.recorded_at desc limit 1
    ) newest on newest.recorded_at >= t.closes_at
    cross join lateral (
        select newest.close * (
            select product(split.ratio order by split.session, split.split_id) from split
            where split.ticker = a.ticker and split.session > a.run_date
              and split.recorded_at > a.bars_recorded_until) as actual
    ) due
    where case f.place when 1 then b.next_day_actual when 2 then b.next_monday_actual else b.one_month_actual end is null
      and (t.closes_at is null or clock_timestamp() < t.closes_at or v.ticker is not null or due.actual is null
           or f.actual is distinct from due.actual)
    order by a.ticker, a.run_date, f.place
    limit 1
    $query$ into wrong;
    if wrong is null then
        return null;
    elsif not wrong.has_closed then
        raise exception 'session % has not closed: the forecast of % on % has no actual yet',
            wrong.target_session, wrong.ticker, wrong.run_date using errcode = 'integrity_constraint_violation';
    elsif wrong.is_voided then
        raise exception 'the % fill of % on % was voided and stays so', wrong.horizon, wrong.ticker, wrong.run_date
            using errcode = 'integrity_constraint_violation';
    elsif wrong.actual is null then
        raise exception '% has no bar for % that was recorded after its close: the forecast of % has no actual yet',
            wrong.ticker, wrong.target_session, wrong.run_date using errcode = 'integrity_constraint_violation';
    end if;
    raise exception 'the actual of % on % is % by its bar for %, not %',
        wrong.ticker, wrong.run_date, wrong.actual, wrong.target_session, wrong.given
        using errcode = 'integrity_constraint_violation';
end $$;

create or replace view open_fill as
select o.ticker, o.run_date, o.simulation_id, o.horizon, o.target_session, o.pred, o.run_date_close,
       t.closes_at <= clock_timestamp() as has_closed,
       b.close * (
           select product(split.ratio order by split.session, split.split_id) from split
           where split.ticker = o.ticker and split.session > o.run_date
             and split.recorded_at > o.bars_recorded_until) as actual
from (
    select ticker, run_date, simulation_id, bars_recorded_until, run_date_close,
           'next_day' as horizon, next_day_session as target_session, next_day_pred as pred
    from snapshot where next_day_actual is null and abstained_reason is null
    union all
    select ticker, run_date, simulation_id, bars_recorded_until, run_date_close,
           'next_monday', next_monday_session, next_monday_pred
    from snapshot where next_monday_actual is null and abstained_reason is null
    union all
    select ticker, run_date, simulation_id, bars_recorded_until, run_date_close,
           'one_month', one_month_session, one_month_pred
    from snapshot where one_month_actual is null and abstained_reason is null
) o
join trading_session t on t.session = o.target_session
left join lateral (
    select bar.close, bar.recorded_at from bar
    where bar.ticker = o.ticker and bar.session = o.target_session
    order by bar.recorded_at desc limit 1
) b on b.recorded_at >= t.closes_at
where not exists (
    select from voided_fill v
    where v.ticker = o.ticker and v.run_date = o.run_date and v.simulation_id = o.simulation_id
      and v.horizon = o.horizon);

create or replace view shadow_record as
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
join snapshot s on (s.ticker, s.run_date, s.simulation_id) = (f.ticker, f.run_date, f.simulation_id)
join trading_session next_open on next_open.session = s.next_day_session
cross join lateral (
    select max(known.actual) filter (where known.horizon = 'next_day') as next_day,
           max(known.actual) filter (where known.horizon = 'next_monday') as next_monday,
           max(known.actual) filter (where known.horizon = 'one_month') as one_month
    from (
        select h.horizon, coalesce(h.filled, newest.close * (
                   select product(split.ratio order by split.session, split.split_id) from split
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

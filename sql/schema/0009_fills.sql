-- Fills in large batches, voids of what will never be filled, and restatements beside what was.

select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- An actual of 0 has no error in percent; it is no price and is refused as such.
create or replace function pct_error(pred double precision, actual double precision) returns double precision
immutable return (pred - actual) / nullif(actual, 0) * 100;

-- A forecast is never changed; an actual goes from NULL to a value once, and what follows from it is worked out here.
-- Whether it is the right one is checked once for all rows of a statement, below.
create or replace function snapshot_is_written_once() returns trigger language plpgsql stable set search_path from current as $$
begin
    if (new.ticker, new.run_date, new.recorded_at, new.kind,
        new.next_day_session, new.next_monday_session, new.one_month_session,
        new.run_date_close, new.next_day_pred, new.next_monday_pred, new.one_month_pred, new.direction_pred,
        new.abstained_reason, new.checkpoint_id, new.model_version, new.model_status, new.checkpoint_sha256,
        new.window_sha256, new.bars_recorded_until)
       is distinct from
       (old.ticker, old.run_date, old.recorded_at, old.kind,
        old.next_day_session, old.next_monday_session, old.one_month_session,
        old.run_date_close, old.next_day_pred, old.next_monday_pred, old.one_month_pred, old.direction_pred,
        old.abstained_reason, old.checkpoint_id, old.model_version, old.model_status, old.checkpoint_sha256,
        old.window_sha256, old.bars_recorded_until) then
        raise exception 'the forecast of % on % is on record and cannot be changed', old.ticker, old.run_date
            using errcode = 'integrity_constraint_violation';
    end if;
    if old.abstained_reason is not null then
        raise exception '% abstained on %: there is nothing to fill', old.ticker, old.run_date
            using errcode = 'integrity_constraint_violation';
    end if;
    if old.next_day_actual is null and new.next_day_actual is not null then
        new.next_day_pct_error := pct_error(new.next_day_pred, new.next_day_actual);
        new.next_day_direction_actual := direction_of(new.next_day_actual, new.run_date_close);
        new.next_day_direction_correct := case
            when new.direction_pred <> 'neutral' then new.direction_pred = new.next_day_direction_actual end;
        new.next_day_filled_at := clock_timestamp();
    end if;
    if old.next_monday_actual is null and new.next_monday_actual is not null then
        new.next_monday_pct_error := pct_error(new.next_monday_pred, new.next_monday_actual);
        new.next_monday_filled_at := clock_timestamp();
    end if;
    if old.one_month_actual is null and new.one_month_actual is not null then
        new.one_month_pct_error := pct_error(new.one_month_pred, new.one_month_actual);
        new.one_month_filled_at := clock_timestamp();
    end if;
    if (old.next_day_actual is not null
        and (new.next_day_actual, new.next_day_pct_error, new.next_day_direction_actual,
             new.next_day_direction_correct, new.next_day_filled_at)
            is distinct from
            (old.next_day_actual, old.next_day_pct_error, old.next_day_direction_actual,
             old.next_day_direction_correct, old.next_day_filled_at))
       or (old.next_monday_actual is not null
           and (new.next_monday_actual, new.next_monday_pct_error, new.next_monday_filled_at)
               is distinct from (old.next_monday_actual, old.next_monday_pct_error, old.next_monday_filled_at))
       or (old.one_month_actual is not null
           and (new.one_month_actual, new.one_month_pct_error, new.one_month_filled_at)
               is distinct from (old.one_month_actual, old.one_month_pct_error, old.one_month_filled_at)) then
        raise exception 'an actual of % on % was filled and cannot be changed', old.ticker, old.run_date
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

drop function snapshot_actual(snapshot, date, double precision);

-- The only actual that the ledger takes is the one that the bars give. Stable, so that it reads the bars that the
-- filling statement read, and multiplied in one order, so that the digits are the same. The product is basis_ratio,
-- written out: called 300,000 times it would take seconds. The query is planned each time, as in fills_are_events.
create function actuals_are_those_of_the_bars() returns trigger language plpgsql stable set search_path from current as $$
declare
    wrong record;
begin
    execute $query$
    select a.ticker, a.run_date, f.horizon, f.target_session, f.actual as given, due.actual,
           coalesce(clock_timestamp() >= t.closes_at, false) as has_closed, v.ticker is not null as is_voided
    from after_it a
    join before_it b on b.ticker = a.ticker and b.run_date = a.run_date
    cross join lateral fills_of(row(a.*)::snapshot) f
    left join trading_session t on t.session = f.target_session
    left join voided_fill v on v.ticker = a.ticker and v.run_date = a.run_date and v.horizon = f.horizon
    left join lateral (
        select bar.close, bar.recorded_at from bar
        where bar.ticker = a.ticker and bar.session = f.target_session
        order by bar.recorded_at desc limit 1
    ) newest on newest.recorded_at >= t.closes_at
    cross join lateral (
        select newest.close * (
            select product(split.ratio order by split.session) from split
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

create trigger actuals_are_those_of_the_bars after update on snapshot
referencing old table as before_it new table as after_it for each statement execute function actuals_are_those_of_the_bars();

-- Three selects and not one, so that each finds its open rows through its own partial index.
create or replace view open_fill as
select o.ticker, o.run_date, o.kind, o.horizon, o.target_session, o.pred, o.run_date_close,
       t.closes_at <= clock_timestamp() as has_closed,
       b.close * (
           select product(split.ratio order by split.session) from split
           where split.ticker = o.ticker and split.session > o.run_date
             and split.recorded_at > o.bars_recorded_until) as actual
from (
    select ticker, run_date, kind, bars_recorded_until, run_date_close,
           'next_day' as horizon, next_day_session as target_session, next_day_pred as pred
    from snapshot where next_day_actual is null and abstained_reason is null
    union all
    select ticker, run_date, kind, bars_recorded_until, run_date_close,
           'next_monday', next_monday_session, next_monday_pred
    from snapshot where next_monday_actual is null and abstained_reason is null
    union all
    select ticker, run_date, kind, bars_recorded_until, run_date_close,
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
    select from voided_fill v where v.ticker = o.ticker and v.run_date = o.run_date and v.horizon = o.horizon);

comment on view open_fill is
    'Forecasts without an actual, one row per horizon; actual is NULL while no bar was recorded after the close. What was voided is open no more.';

drop view corrected_actual;

-- The horizon of a forecast that is still open; NULL where it is filled, abstained, or not there.
create function open_target(of_ticker text, of_run_date date, of_horizon text) returns date
stable return (
    select f.target_session
    from snapshot s
    cross join lateral (values
        ('next_day', s.next_day_session, s.next_day_actual), ('next_monday', s.next_monday_session, s.next_monday_actual),
        ('one_month', s.one_month_session, s.one_month_actual)) f (horizon, target_session, actual)
    where s.ticker = of_ticker and s.run_date = of_run_date and s.abstained_reason is null
      and f.horizon = of_horizon and f.actual is null);

-- The wait for a bar begins when it is due and not there, not before.
create function overdue_fill_is_due() returns trigger language plpgsql set search_path from current as $$
declare
    target date := open_target(new.ticker, new.run_date, new.horizon);
begin
    new.noticed_at := clock_timestamp();
    if target is null
       or new.noticed_at < (select closes_at from trading_session where session = target)
       or exists (select from bar join trading_session t using (session)
                  where bar.ticker = new.ticker and bar.session = target and bar.recorded_at >= t.closes_at) then
        raise exception 'the % actual of % on % is not overdue', new.horizon, new.ticker, new.run_date
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger overdue_fill_is_due before insert on overdue_fill
for each row execute function overdue_fill_is_due();

-- Nobody can void what the bars can fill, nor before as many sessions with bars of anybody have passed as the row says,
-- five at least.
create function voided_fill_waited_in_vain() returns trigger language plpgsql set search_path from current as $$
declare
    num_waited bigint;
begin
    new.voided_at := clock_timestamp();
    new.target_session := open_target(new.ticker, new.run_date, new.horizon);
    if new.target_session is null then
        raise exception 'the % forecast of % on % is not open: there is nothing to void',
            new.horizon, new.ticker, new.run_date using errcode = 'integrity_constraint_violation';
    end if;
    select count(distinct t.session) into num_waited
    from overdue_fill o
    join trading_session target on target.session = new.target_session
    join trading_session t on t.opens_at > greatest(o.noticed_at, target.closes_at) and t.closes_at <= new.voided_at
    join bar on bar.session = t.session and bar.recorded_at >= t.closes_at
    where o.ticker = new.ticker and o.run_date = new.run_date and o.horizon = new.horizon
      and bar.recorded_at >= o.noticed_at;
    if num_waited < new.wait_sessions then
        raise exception 'the % forecast of % on % was waited for % sessions, not %: it is not voided yet',
            new.horizon, new.ticker, new.run_date, num_waited, new.wait_sessions
            using errcode = 'integrity_constraint_violation';
    end if;
    if exists (select from bar join trading_session t using (session)
               where bar.ticker = new.ticker and bar.session = new.target_session and bar.recorded_at >= t.closes_at) then
        raise exception '% has a bar for %: the forecast of % is filled, not voided',
            new.ticker, new.target_session, new.run_date using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger voided_fill_waited_in_vain before insert on voided_fill
for each row execute function voided_fill_waited_in_vain();

-- A restatement is what the vintage says that it names, whatever the caller says.
create function restated_actual_is_that_of_its_bar() returns trigger language plpgsql set search_path from current as $$
declare
    found record;
begin
    new.noticed_at := clock_timestamp();
    select f.target_session, f.actual, v.ticker is not null as is_voided,
           bar.close * basis_ratio(s.ticker, s.run_date, s.bars_recorded_until) as restated
    into found
    from snapshot s
    cross join lateral (values
        ('next_day', s.next_day_session, s.next_day_actual), ('next_monday', s.next_monday_session, s.next_monday_actual),
        ('one_month', s.one_month_session, s.one_month_actual)) f (horizon, target_session, actual)
    join bar on bar.ticker = s.ticker and bar.session = f.target_session and bar.recorded_at = new.bar_recorded_at
    left join voided_fill v on v.ticker = s.ticker and v.run_date = s.run_date and v.horizon = f.horizon
    where s.ticker = new.ticker and s.run_date = new.run_date and f.horizon = new.horizon;
    if found is null or (found.actual is null and not found.is_voided) then
        raise exception 'the % forecast of % on % has no actual that a bar of % could restate',
            new.horizon, new.ticker, new.run_date, new.bar_recorded_at using errcode = 'integrity_constraint_violation';
    end if;
    new.target_session := found.target_session;
    new.actual := found.actual;
    new.restated_actual := found.restated;
    return new;
end $$;

create trigger restated_actual_is_that_of_its_bar before insert on restated_actual
for each row execute function restated_actual_is_that_of_its_bar();

alter table snapshot enable always trigger actuals_are_those_of_the_bars;
alter table overdue_fill enable always trigger overdue_fill_is_due;
alter table voided_fill enable always trigger voided_fill_waited_in_vain;
alter table restated_actual enable always trigger restated_actual_is_that_of_its_bar;

-- What was known when must not be a caller's claim: a bar and a split are dated by the transaction that records them. The
-- five minutes are for a clock that was set back, whose next vintage must still come after the last one.
create function recorded_now() returns trigger language plpgsql set search_path from current as $$
begin
    if exists (select from added
               where recorded_at < transaction_timestamp() or recorded_at > clock_timestamp() + interval '5 minutes') then
        raise exception 'rows of % are dated by the moment they are recorded at', tg_table_name
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create trigger bar_is_recorded_now after insert on bar
referencing new table as added for each statement execute function recorded_now();
create trigger split_is_recorded_now after insert on split
referencing new table as added for each statement execute function recorded_now();
alter table bar enable always trigger bar_is_recorded_now;
alter table split enable always trigger split_is_recorded_now;

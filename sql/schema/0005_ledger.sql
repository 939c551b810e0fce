-- The forecast ledger: written once before the session it speaks about, filled once when the actual is known.

-- The functions below keep this search path: the tables are found from any connection, and a temporary table of the
-- same name, which would otherwise be found first, cannot stand in for the calendar.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create function pct_error(pred double precision, actual double precision) returns double precision
immutable return (pred - actual) / actual * 100;

-- Within 1e-9 of the reference is unchanged: what is left over when a price is divided and multiplied by a split's ratio.
create function direction_of(price double precision, reference double precision) returns text
immutable return case
    when abs(price - reference) <= 1e-9 * reference then 'neutral'
    when price > reference then 'bullish'
    else 'bearish' end;

create table snapshot (
    ticker                     text             not null,
    run_date                   date             not null references trading_session,
    recorded_at                timestamptz      not null,
    kind                       text             not null check (kind in ('live', 'late', 'simulated')),
    next_day_session           date             not null references trading_session,
    next_monday_session        date             not null,
    one_month_session          date             not null,
    run_date_close             double precision,
    next_day_pred              double precision,
    next_monday_pred           double precision,
    one_month_pred             double precision,
    direction_pred             text             check (direction_pred in ('bullish', 'neutral', 'bearish')),
    abstained_reason           text,
    checkpoint_id              bigint           references checkpoint,
    model_version              text,
    model_status               text             check (model_status in ('active', 'retired', 'candidate')),
    checkpoint_sha256          text,
    window_sha256              text,
    bars_recorded_until        timestamptz      not null,

    next_day_actual            double precision,
    next_day_pct_error         double precision,
    next_day_direction_actual  text             check (next_day_direction_actual in ('bullish', 'neutral', 'bearish')),
    next_day_direction_correct boolean,
    next_day_filled_at         timestamptz,
    next_monday_actual         double precision,
    next_monday_pct_error      double precision,
    next_monday_filled_at      timestamptz,
    one_month_actual           double precision,
    one_month_pct_error        double precision,
    one_month_filled_at        timestamptz,

    primary key (ticker, run_date),
    constraint snapshot_speaks_about_the_future check (
        run_date < next_day_session and next_day_session <= next_monday_session
        and next_monday_session <= one_month_session),
    constraint snapshot_forecasts_or_abstains check (
        (abstained_reason is null
         and run_date_close > 0 and next_day_pred is not null and next_monday_pred is not null
         and one_month_pred is not null and direction_pred is not null and checkpoint_sha256 is not null
         and window_sha256 is not null and model_status is not null)
        or (abstained_reason is not null
            and next_day_pred is null and next_monday_pred is null and one_month_pred is null
            and direction_pred is null)),
    constraint snapshot_fills_are_whole check (
        (next_day_actual is null) = (next_day_filled_at is null)
        and (next_monday_actual is null) = (next_monday_filled_at is null)
        and (one_month_actual is null) = (one_month_filled_at is null)
        and (next_day_actual is null) = (next_day_pct_error is null)
        and (next_monday_actual is null) = (next_monday_pct_error is null)
        and (one_month_actual is null) = (one_month_pct_error is null)
        and (next_day_actual is null) = (next_day_direction_actual is null)
        and (next_day_direction_correct is null) = (next_day_actual is null or direction_pred = 'neutral')),
    constraint snapshot_actuals_are_prices check (
        (next_day_actual is null or (next_day_actual > 0 and next_day_actual < 'infinity'))
        and (next_monday_actual is null or (next_monday_actual > 0 and next_monday_actual < 'infinity'))
        and (one_month_actual is null or (one_month_actual > 0 and one_month_actual < 'infinity'))),
    constraint snapshot_forecasts_are_finite check (
        next_day_pred not in ('nan', 'infinity', '-infinity')
        and next_monday_pred not in ('nan', 'infinity', '-infinity')
        and one_month_pred not in ('nan', 'infinity', '-infinity')),
    constraint snapshot_candidates_are_simulated check (model_status is distinct from 'candidate' or kind = 'simulated'),
    constraint snapshot_retired_models_are_not_live check (model_status is distinct from 'retired' or kind <> 'live')
);

create index snapshot_next_day_open on snapshot (next_day_session)
    where next_day_actual is null and abstained_reason is null;
create index snapshot_next_monday_open on snapshot (next_monday_session)
    where next_monday_actual is null and abstained_reason is null;
create index snapshot_one_month_open on snapshot (one_month_session)
    where one_month_actual is null and abstained_reason is null;

comment on column snapshot.kind is 'live: recorded before its first target session opened; late: after; simulated: asked for by a backfill or demo.';
comment on column snapshot.bars_recorded_until is 'The forecast saw the vintages recorded up to this moment and no later one.';

-- The database's own clock dates a row and decides whether it is live. A caller can ask for simulated, never for live.
create function snapshot_is_dated_by_the_database() returns trigger language plpgsql set search_path from current as $$
begin
    new.recorded_at := clock_timestamp();
    if new.recorded_at < (select closes_at from trading_session where session = new.run_date) then
        raise exception 'session % has not closed: % cannot be forecast from it yet', new.run_date, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    if new.kind is distinct from 'simulated' then
        new.kind := case
            when new.recorded_at < (select opens_at from trading_session where session > new.run_date
                                    order by session limit 1)
            then 'live' else 'late' end;
    end if;
    if num_nonnulls(new.next_day_actual, new.next_day_pct_error, new.next_day_direction_actual,
                    new.next_day_direction_correct, new.next_day_filled_at,
                    new.next_monday_actual, new.next_monday_pct_error, new.next_monday_filled_at,
                    new.one_month_actual, new.one_month_pct_error, new.one_month_filled_at) > 0 then
        raise exception 'the forecast of % on % arrives with an actual: actuals are filled in later',
            new.ticker, new.run_date using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger snapshot_is_dated_by_the_database before insert on snapshot
for each row execute function snapshot_is_dated_by_the_database();

-- A row is on record when its transaction commits: nobody else could read it before.
create function snapshot_is_live_when_committed() returns trigger language plpgsql set search_path from current as $$
declare
    target record;
begin
    select session, opens_at into target from trading_session where session > new.run_date order by session limit 1;
    if clock_timestamp() >= target.opens_at then
        raise exception 'session % opened at % while the forecast of % on % was being recorded: it is not live; record it again',
            target.session, target.opens_at, new.ticker, new.run_date using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create constraint trigger snapshot_is_live_when_committed after insert on snapshot
deferrable initially deferred
for each row when (new.kind = 'live') execute function snapshot_is_live_when_committed();

create aggregate product(double precision) (sfunc = float8mul, stype = double precision, initcond = '1');

-- What turns a price of today's basis into one of the basis that a forecast was made on: the splits after its run date
-- that were not known when its bars were recorded.
create function basis_ratio(of_ticker text, of_run_date date, bars_recorded_until timestamptz) returns double precision
stable return (
    select product(split.ratio) from split
    where split.ticker = of_ticker and split.session > of_run_date
      and split.recorded_at > basis_ratio.bars_recorded_until);

-- The actual that the bars give, which is the only one that the ledger takes. Stable, as its caller is, so that it
-- reads the bars that the filling statement read.
create function snapshot_actual(forecast snapshot, target_session date, given double precision) returns double precision
language plpgsql stable as $$
declare
    actual double precision;
    closed_at timestamptz := (select closes_at from trading_session where session = target_session);
begin
    if closed_at is null or clock_timestamp() < closed_at then
        raise exception 'session % has not closed: the forecast of % on % has no actual yet',
            target_session, forecast.ticker, forecast.run_date using errcode = 'integrity_constraint_violation';
    end if;
    select newest.close * basis_ratio(forecast.ticker, forecast.run_date, forecast.bars_recorded_until) into actual
    from (select close, recorded_at from bar
          where bar.ticker = forecast.ticker and bar.session = target_session
          order by recorded_at desc limit 1) newest
    where newest.recorded_at >= closed_at;
    if actual is null then
        raise exception '% has no bar for % that was recorded after its close: the forecast of % has no actual yet',
            forecast.ticker, target_session, forecast.run_date using errcode = 'integrity_constraint_violation';
    end if;
    if abs(given - actual) > 1e-9 * actual then
        raise exception 'the actual of % on % is % by its bar for %, not %',
            forecast.ticker, forecast.run_date, actual, target_session, given
            using errcode = 'integrity_constraint_violation';
    end if;
    return actual;
end $$;

-- A forecast is never changed; an actual goes from NULL to a value once, and what follows from it is worked out here.
create function snapshot_is_written_once() returns trigger language plpgsql stable set search_path from current as $$
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
        new.next_day_actual := snapshot_actual(new, new.next_day_session, new.next_day_actual);
        new.next_day_pct_error := pct_error(new.next_day_pred, new.next_day_actual);
        new.next_day_direction_actual := direction_of(new.next_day_actual, new.run_date_close);
        new.next_day_direction_correct := case
            when new.direction_pred <> 'neutral' then new.direction_pred = new.next_day_direction_actual end;
        new.next_day_filled_at := clock_timestamp();
    end if;
    if old.next_monday_actual is null and new.next_monday_actual is not null then
        new.next_monday_actual := snapshot_actual(new, new.next_monday_session, new.next_monday_actual);
        new.next_monday_pct_error := pct_error(new.next_monday_pred, new.next_monday_actual);
        new.next_monday_filled_at := clock_timestamp();
    end if;
    if old.one_month_actual is null and new.one_month_actual is not null then
        new.one_month_actual := snapshot_actual(new, new.one_month_session, new.one_month_actual);
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

create trigger snapshot_is_written_once before update on snapshot
for each row execute function snapshot_is_written_once();

create function snapshot_is_never_removed() returns trigger language plpgsql as $$
begin
    raise exception 'forecasts are never deleted' using errcode = 'integrity_constraint_violation';
end $$;

create trigger snapshot_is_never_deleted before delete on snapshot
for each statement execute function snapshot_is_never_removed();

create trigger snapshot_is_never_truncated before truncate on snapshot
for each statement execute function snapshot_is_never_removed();

alter table snapshot enable always trigger snapshot_is_dated_by_the_database;
alter table snapshot enable always trigger snapshot_is_live_when_committed;
alter table snapshot enable always trigger snapshot_is_written_once;
alter table snapshot enable always trigger snapshot_is_never_deleted;
alter table snapshot enable always trigger snapshot_is_never_truncated;

-- Three selects and not one, so that each finds its open rows through its own partial index.
create view open_fill as
select o.ticker, o.run_date, o.kind, o.horizon, o.target_session, o.pred, o.run_date_close,
       t.closes_at <= clock_timestamp() as has_closed,
       b.close * basis_ratio(o.ticker, o.run_date, o.bars_recorded_until) as actual
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
) b on b.recorded_at >= t.closes_at;

comment on view open_fill is
    'Forecasts without an actual, one row per horizon; actual is NULL while no bar was recorded after the close.';

-- The hour is for corrections that were dated before a fill and committed after it.
create view corrected_actual as
select f.ticker, f.run_date, f.horizon, f.target_session, f.actual, c.actual as corrected_actual, b.recorded_at
from (
    select ticker, run_date, bars_recorded_until, 'next_day' as horizon,
           next_day_session as target_session, next_day_actual as actual, next_day_filled_at as filled_at
    from snapshot where next_day_actual is not null
    union all
    select ticker, run_date, bars_recorded_until, 'next_monday',
           next_monday_session, next_monday_actual, next_monday_filled_at
    from snapshot where next_monday_actual is not null
    union all
    select ticker, run_date, bars_recorded_until, 'one_month',
           one_month_session, one_month_actual, one_month_filled_at
    from snapshot where one_month_actual is not null
) f
cross join lateral (
    select bar.close, bar.recorded_at from bar
    where bar.ticker = f.ticker and bar.session = f.target_session
    order by bar.recorded_at desc limit 1
) b
cross join lateral (select b.close * basis_ratio(f.ticker, f.run_date, f.bars_recorded_until) as actual) c
where b.recorded_at > f.filled_at - interval '1 hour' and abs(c.actual - f.actual) > 1e-9 * f.actual;

comment on view corrected_actual is
    'Actuals whose bar was corrected after the fill: the filled one stays, the corrected one stands beside it, on the same basis.';

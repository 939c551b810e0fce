-- The forecast ledger: written once before the session it speaks about, filled once when the actual is known; voids of what
-- is never filled, restatements beside what was, shadows of other models, and who was right.

-- Functions keep this search path: they find their tables from any connection, and a temporary table of the same name,
-- which would otherwise be found first, cannot stand in for one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create domain horizon as text check (value in ('next_day', 'next_monday', 'one_month'));

-- An actual of 0 has no error in percent; it is no price and is refused as such.
create function pct_error(pred double precision, actual double precision) returns double precision
immutable return (pred - actual) / nullif(actual, 0) * 100;

-- Within 1e-9 of the reference is unchanged: what is left over when a price is divided and multiplied by a split's ratio.
create function direction_of(price double precision, reference double precision) returns text
immutable return case
    when abs(price - reference) <= 1e-9 * reference then 'neutral'
    when price > reference then 'bullish'
    else 'bearish' end;

-- A forecast saw no bar of the future (five minutes are for a clock that was set back), and its texts read the same
-- whatever a connection's encoding is.
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
    constraint snapshot_saw_no_bar_of_the_future check (
        bars_recorded_until <= recorded_at + interval '5 minutes'
        and bars_recorded_until > '1990-01-01 00:00+00'),
    constraint snapshot_names_are_ascii check (
        concat(ticker, model_version, checkpoint_sha256, window_sha256) ~ '^[ -~]*$'),
    constraint snapshot_candidates_are_simulated check (model_status is distinct from 'candidate' or kind = 'simulated'),
    constraint snapshot_retired_models_are_not_live check (model_status is distinct from 'retired' or kind <> 'live')
);

create index snapshot_next_day_open on snapshot (next_day_session)
    where next_day_actual is null and abstained_reason is null;
create index snapshot_next_monday_open on snapshot (next_monday_session)
    where next_monday_actual is null and abstained_reason is null;
create index snapshot_one_month_open on snapshot (one_month_session)
    where one_month_actual is null and abstained_reason is null;
create index snapshot_by_checkpoint on snapshot (checkpoint_id, run_date);
-- When a ticker's own record begins, at once: backfills may have written years of simulated rows before it.
create index snapshot_not_simulated on snapshot (ticker, run_date) where kind <> 'simulated';

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
alter table snapshot enable always trigger snapshot_is_dated_by_the_database;

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
alter table snapshot enable always trigger snapshot_is_live_when_committed;

-- Writers of forecasts and of this mark wait for each other, see a_turn_in_the_chain: no forecast slips in between.
create function snapshot_has_its_checkpoint_file() returns trigger language plpgsql set search_path from current as $$
begin
    if exists (select from checkpoint where checkpoint.checkpoint_id = new.checkpoint_id and file_removed_at is not null) then
        raise exception 'the file of checkpoint %, which the forecast of % on % names, was removed',
            new.checkpoint_id, new.ticker, new.run_date using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger snapshot_has_its_checkpoint_file before insert on snapshot
for each row when (new.checkpoint_id is not null) execute function snapshot_has_its_checkpoint_file();
alter table snapshot enable always trigger snapshot_has_its_checkpoint_file;

-- A forecast is never changed; an actual goes from NULL to a value once, and what follows from it is worked out here.
-- Whether it is the right one is checked once for all rows of a statement, below.
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

create trigger snapshot_is_written_once before update on snapshot
for each row execute function snapshot_is_written_once();
alter table snapshot enable always trigger snapshot_is_written_once;

create function snapshot_is_never_removed() returns trigger language plpgsql as $$
begin
    raise exception 'forecasts are never deleted' using errcode = 'integrity_constraint_violation';
end $$;

create trigger snapshot_is_never_deleted before delete on snapshot
for each statement execute function snapshot_is_never_removed();
alter table snapshot enable always trigger snapshot_is_never_deleted;
create trigger snapshot_is_never_truncated before truncate on snapshot
for each statement execute function snapshot_is_never_removed();
alter table snapshot enable always trigger snapshot_is_never_truncated;

create aggregate product(double precision) (sfunc = float8mul, stype = double precision, initcond = '1');

-- What turns a price of today's basis into one of the basis that a forecast was made on: the splits after its run date
-- that were not known when its bars were recorded.
create function basis_ratio(of_ticker text, of_run_date date, bars_recorded_until timestamptz) returns double precision
stable return (
    select product(split.ratio) from split
    where split.ticker = of_ticker and split.session > of_run_date
      and split.recorded_at > basis_ratio.bars_recorded_until);

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

create table overdue_fill (
    ticker     text        not null,
    run_date   date        not null,
    horizon    horizon     not null,
    noticed_at timestamptz not null default clock_timestamp(),
    primary key (ticker, run_date, horizon),
    foreign key (ticker, run_date) references snapshot
);

comment on table overdue_fill is
    'Actuals that were due and had no bar, with the moment this was first noticed: the wait before a void counts from there.';

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
alter table overdue_fill enable always trigger overdue_fill_is_due;
create trigger overdue_fill_is_append_only before update or delete or truncate on overdue_fill
for each statement execute function is_append_only();
alter table overdue_fill enable always trigger overdue_fill_is_append_only;

create table voided_fill (
    ticker         text        not null,
    run_date       date        not null,
    horizon        horizon     not null,
    target_session date        not null,
    reason         text        not null check (reason <> ''),
    wait_sessions  integer     not null check (wait_sessions >= 5),
    voided_at      timestamptz not null,
    primary key (ticker, run_date, horizon),
    foreign key (ticker, run_date) references snapshot
);

comment on table voided_fill is
    'Forecasts that will have no actual, because their ticker did not trade on the target session, with the reason.';

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
alter table voided_fill enable always trigger voided_fill_waited_in_vain;
create trigger voided_fill_is_append_only before update or delete or truncate on voided_fill
for each statement execute function is_append_only();
alter table voided_fill enable always trigger voided_fill_is_append_only;

create function fills_of(s snapshot) returns table (
    horizon text, place integer, target_session date, actual double precision, pct_error double precision,
    direction_actual text, direction_correct boolean, filled_at timestamptz)
stable
begin atomic
    select f.* from (values
        ('next_day', 1, s.next_day_session, s.next_day_actual, s.next_day_pct_error,
         s.next_day_direction_actual, s.next_day_direction_correct, s.next_day_filled_at),
        ('next_monday', 2, s.next_monday_session, s.next_monday_actual, s.next_monday_pct_error,
         null::text, null::boolean, s.next_monday_filled_at),
        ('one_month', 3, s.one_month_session, s.one_month_actual, s.one_month_pct_error,
         null::text, null::boolean, s.one_month_filled_at)
    ) f (horizon, place, target_session, actual, pct_error, direction_actual, direction_correct, filled_at)
    where f.actual is not null;
end;

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
alter table snapshot enable always trigger actuals_are_those_of_the_bars;

-- Three selects and not one, so that each finds its open rows through its own partial index.
create view open_fill as
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

create table restated_actual (
    ticker          text             not null,
    run_date        date             not null,
    horizon         horizon          not null,
    bar_recorded_at timestamptz      not null,
    target_session  date             not null,
    actual          double precision,
    restated_actual double precision not null check (restated_actual > 0 and restated_actual < 'infinity'),
    noticed_at      timestamptz      not null,
    primary key (ticker, run_date, horizon, bar_recorded_at),
    foreign key (ticker, run_date) references snapshot
);

comment on table restated_actual is
    'What a later vintage of the target session''s bar says, on the basis of the forecast; the actual on record stays. Its actual is NULL where the fill was voided.';

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
alter table restated_actual enable always trigger restated_actual_is_that_of_its_bar;
create trigger restated_actual_is_append_only before update or delete or truncate on restated_actual
for each statement execute function is_append_only();
alter table restated_actual enable always trigger restated_actual_is_append_only;

create table restatement_scan (
    scanned_until timestamptz primary key default clock_timestamp()
);

comment on table restatement_scan is 'Up to when bars were searched for ones that restate an actual.';

create trigger restatement_scan_is_append_only before update or delete or truncate on restatement_scan
for each statement execute function is_append_only();
alter table restatement_scan enable always trigger restatement_scan_is_append_only;

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
alter table shadow_forecast enable always trigger shadow_forecast_stands_beside_its_row;
create trigger shadow_forecast_is_append_only before update or delete or truncate on shadow_forecast
for each statement execute function is_append_only();
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

-- The 95% interval of Wilson (1927) for a share of successes; NULL without a trial. 1.959963984540054 is the 97.5%
-- point of the normal distribution.
create function wilson_low(successes bigint, trials bigint) returns double precision
immutable return case
    when successes = 0 and trials > 0 then 0
    else (successes + 1.959963984540054::double precision ^ 2 / 2 - 1.959963984540054::double precision
          * sqrt(successes::double precision * (trials - successes) / nullif(trials, 0)
                 + 1.959963984540054::double precision ^ 2 / 4))
         / (nullif(trials, 0) + 1.959963984540054::double precision ^ 2) end;

create function wilson_high(successes bigint, trials bigint) returns double precision
immutable return 1 - wilson_low(trials - successes, trials);

-- One row per ticker and, with ticker NULL, one for the universe: the same rows pooled. Tickers move together, so the
-- universe's interval, which takes its rows for independent, is narrower than the truth.
-- Rank goes by the lower end of the interval, so that one lucky call does not lead; then by the next-day error.
create function accuracy_30d(kinds text[]) returns table (
    ticker                     text,
    rank                       bigint,
    first_run_date             date,
    last_run_date              date,
    num_filled                 bigint,
    num_directional            bigint,
    num_correct                bigint,
    direction_accuracy         double precision,
    accuracy_low               double precision,
    accuracy_high              double precision,
    coverage                   double precision,
    next_day_error             double precision,
    next_day_no_change_error   double precision,
    num_next_monday            bigint,
    next_monday_error          double precision,
    next_monday_no_change_error double precision,
    num_one_month              bigint,
    one_month_error            double precision,
    one_month_no_change_error  double precision
) stable
begin atomic
    with counted as (
        select f.*
        from (select distinct snapshot.ticker from snapshot) known
        cross join lateral (
            select * from snapshot
            where snapshot.ticker = known.ticker and snapshot.kind = any (kinds)
              and snapshot.next_day_actual is not null
            order by snapshot.run_date desc limit 30
        ) f
    ), scored as (
        select counted.ticker,
               grouping(counted.ticker) as is_universe,
               min(run_date) as first_run_date,
               max(run_date) as last_run_date,
               count(*) as num_filled,
               count(next_day_direction_correct) as num_directional,
               count(*) filter (where next_day_direction_correct) as num_correct,
               avg(abs(next_day_pct_error)) as next_day_error,
               avg(abs(pct_error(run_date_close, next_day_actual))) as next_day_no_change_error,
               count(next_monday_actual) as num_next_monday,
               avg(abs(next_monday_pct_error)) as next_monday_error,
               avg(abs(pct_error(run_date_close, next_monday_actual))) as next_monday_no_change_error,
               count(one_month_actual) as num_one_month,
               avg(abs(one_month_pct_error)) as one_month_error,
               avg(abs(pct_error(run_date_close, one_month_actual))) as one_month_no_change_error
        from counted
        group by grouping sets ((counted.ticker), ())
    )
    select scored.ticker,
           case when is_universe = 0 then rank() over (
               partition by is_universe
               order by wilson_low(num_correct, num_directional) desc nulls last, next_day_error) end,
           first_run_date, last_run_date, num_filled, num_directional, num_correct,
           num_correct::double precision / nullif(num_directional, 0),
           wilson_low(num_correct, num_directional),
           wilson_high(num_correct, num_directional),
           num_directional::double precision / nullif(num_filled, 0),
           next_day_error, next_day_no_change_error,
           num_next_monday, next_monday_error, next_monday_no_change_error,
           num_one_month, one_month_error, one_month_no_change_error
    from scored;
end;

create view ldtm_accuracy_30d as
select * from accuracy_30d(array['live']) where ticker is not null order by rank, ticker;

create view ldtm_accuracy_30d_universe as
select * from accuracy_30d(array['live']) where ticker is null;

comment on view ldtm_accuracy_30d is
    'Per ticker over its last 30 filled live sessions: direction accuracy with its 95% Wilson interval, coverage, mean absolute errors in percent beside those of the no-change forecast.';

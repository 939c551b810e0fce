-- The forecast ledger: forecasts are written once, before their first target session, and filled once, when the actual
-- is known. Voids, restatements and shadow forecasts are tables beside it; views compute the leaderboard.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table cannot shadow one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create domain horizon as text check (value in ('next_day', 'next_monday', 'one_month'));

-- NULL for an actual of 0, which has no percentage error; constraints refuse such an actual.
create function pct_error(pred double precision, actual double precision) returns double precision
immutable return (pred - actual) / nullif(actual, 0) * 100;

-- A relative difference of 1e-9 counts as unchanged: the rounding error of dividing and multiplying by a split ratio.
create function direction_of(price double precision, reference double precision) returns text
immutable return case
    when abs(price - reference) <= 1e-9 * reference then 'neutral'
    when price > reference then 'bullish'
    else 'bearish' end;

-- Simulations: forecasts of past sessions by models trained before each of them. Every simulation has a number, the
-- numbers have no gaps, and its rows stand beside the live ones. 0 is no simulation: rows of daily runs.
create table simulation (
    simulation_id   bigint      primary key check (simulation_id > 0),
    started_at      timestamptz not null,
    origin          text        not null unique check (origin <> ''),
    first_session   date        references trading_session,
    last_session    date        references trading_session,
    retrain_every   integer     check (retrain_every > 0),
    settings_sha256 text,
    tickers         text[],
    constraint simulation_is_of_sessions check (first_session <= last_session)
);

comment on column simulation.origin is 'What started it: a bootstrap, or the run or backfill of daily runs.';
comment on column simulation.retrain_every is 'Sessions between two trainings of its own models; NULL if it used the models of the registry.';
comment on column simulation.settings_sha256 is 'Fingerprint of all settings that its models, verdicts and forecasts depend on.';

-- The database numbers and dates a simulation. The chain lock is held, so that the numbers follow each other.
create function simulation_is_numbered() returns trigger language plpgsql set search_path from current as $$
begin
    new.simulation_id := coalesce((select max(simulation_id) from simulation), 0) + 1;
    new.started_at := clock_timestamp();
    return new;
end $$;

create trigger simulation_is_numbered before insert on simulation
for each row execute function simulation_is_numbered();
alter table simulation enable always trigger simulation_is_numbered;
create trigger simulation_is_append_only before update or delete or truncate on simulation
for each statement execute function is_append_only();
alter table simulation enable always trigger simulation_is_append_only;

-- The models of a simulation, with the gate's verdict on each: the registry is not touched by a simulation.
create table simulation_model (
    simulation_id bigint  not null references simulation,
    ticker        text    not null,
    first_session date    not null references trading_session,
    checkpoint_id bigint  references checkpoint,
    passed        boolean not null,
    reasons       text[]  not null,
    primary key (simulation_id, ticker, first_session),
    constraint simulation_model_passes_or_says_why check (passed = (cardinality(reasons) = 0)),
    constraint simulation_model_that_passes_is_there check (checkpoint_id is not null or not passed)
);

comment on column simulation_model.first_session is 'The first session that the model may forecast; it was trained on earlier ones alone.';
comment on column simulation_model.reasons is 'Why the gate refused it; empty if it passed.';

create index simulation_model_by_checkpoint on simulation_model (checkpoint_id);

create function simulation_model_is_older_than_its_sessions() returns trigger language plpgsql set search_path from current as $$
begin
    if new.checkpoint_id is not null and not exists (
           select from checkpoint c
           where c.checkpoint_id = new.checkpoint_id and c.ticker = new.ticker and c.trained_on < new.first_session) then
        raise exception 'checkpoint % is no network of % that was trained before %',
            new.checkpoint_id, new.ticker, new.first_session using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger simulation_model_is_older_than_its_sessions before insert on simulation_model
for each row execute function simulation_model_is_older_than_its_sessions();
alter table simulation_model enable always trigger simulation_model_is_older_than_its_sessions;
create trigger simulation_model_is_append_only before update or delete or truncate on simulation_model
for each statement execute function is_append_only();
alter table simulation_model enable always trigger simulation_model_is_append_only;

-- A ticker enters service on the first session that closes after the gate's first verdict on a training of it. From then
-- on it has a row for every session until it leaves the universe.
create table service_entry (
    ticker        text        primary key,
    first_session date        not null references trading_session,
    verdict_id    bigint      references gate_verdict,
    entered_at    timestamptz not null
);

comment on column service_entry.first_session is 'The first session of which the ticker has a row.';
comment on column service_entry.verdict_id is 'The verdict that it entered service with; NULL if a person put it in service before any.';

-- The entry may be dated back, which only adds obligations, and never postponed.
create function service_entry_is_not_postponed() returns trigger language plpgsql set search_path from current as $$
declare
    latest date;
begin
    new.entered_at := clock_timestamp();
    select session into latest from trading_session where closes_at > new.entered_at order by session limit 1;
    new.first_session := least(coalesce(new.first_session, latest), latest);
    if new.first_session is null then
        raise exception 'trading_session holds no session after %: % cannot enter service', new.entered_at, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger service_entry_is_not_postponed before insert on service_entry
for each row execute function service_entry_is_not_postponed();
alter table service_entry enable always trigger service_entry_is_not_postponed;
create trigger service_entry_is_append_only before update or delete or truncate on service_entry
for each statement execute function is_append_only();
alter table service_entry enable always trigger service_entry_is_append_only;

create function judged_tickers_enter_service() returns trigger language plpgsql set search_path from current as $$
begin
    insert into service_entry (ticker, verdict_id)
    select distinct on (ticker) ticker, verdict_id from added where trained_on is not null
    order by ticker, verdict_id
    on conflict (ticker) do nothing;
    return null;
end $$;

create trigger judged_tickers_enter_service after insert on gate_verdict
referencing new table as added for each statement execute function judged_tickers_enter_service();
alter table gate_verdict enable always trigger judged_tickers_enter_service;

-- A forecast uses no bar recorded after it, with five minutes of tolerance for a clock that was set back. Its texts are
-- ASCII, so that their bytes do not depend on the client encoding.
create table snapshot (
    ticker                     text             not null,
    run_date                   date             not null references trading_session,
    simulation_id              bigint           not null default 0,
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

    primary key (ticker, run_date, simulation_id),
    constraint snapshot_is_of_a_simulation check ((kind = 'simulated') = (simulation_id > 0) and simulation_id >= 0),
    constraint snapshot_targets_are_in_the_future check (
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
create index snapshot_by_simulation on snapshot (simulation_id) where simulation_id > 0;

comment on column snapshot.simulation_id is 'The simulation that made it; 0: none, a daily run.';
comment on column snapshot.kind is 'live: recorded before the first target session opened; late: after it; simulated: made for a past session by a simulation.';
comment on column snapshot.bars_recorded_until is 'The forecast used the vintages recorded up to this time and none after it.';

-- The database's clock dates a row and decides whether it is live. A row is simulated if it names a simulation. A ticker
-- that is not in service has no row; those of sessions before its service are late, at the request of a person.
create function snapshot_is_dated_by_the_database() returns trigger language plpgsql set search_path from current as $$
begin
    new.recorded_at := clock_timestamp();
    if new.recorded_at < (select closes_at from trading_session where session = new.run_date) then
        raise exception 'session % has not closed: % cannot be forecast from it yet', new.run_date, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    if new.simulation_id > 0 then
        if not exists (select from simulation where simulation.simulation_id = new.simulation_id) then
            raise exception 'there is no simulation %: the forecast of % on % belongs to none',
                new.simulation_id, new.ticker, new.run_date using errcode = 'integrity_constraint_violation';
        end if;
        new.kind := 'simulated';
    else
        new.kind := case
            when new.recorded_at < (select opens_at from trading_session where session > new.run_date
                                    order by session limit 1)
            then 'live' else 'late' end;
        if not exists (select from service_entry e
                       where e.ticker = new.ticker and (e.first_session <= new.run_date or new.kind = 'late')) then
            raise exception '% is not in service on %: it enters service with the first verdict of the gate',
                new.ticker, new.run_date using errcode = 'integrity_constraint_violation';
        end if;
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

-- A live row must be committed before its first target session opens: other transactions cannot read it earlier.
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

-- Race-free: writers of forecasts and of file_removed_at both hold the chain lock, see take_chain_lock().
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

-- A forecast is never changed. An actual changes once from NULL to a value, and its errors and directions are computed
-- here. Actuals are compared with the bars once per statement, see actuals_are_those_of_the_bars().
create function snapshot_is_written_once() returns trigger language plpgsql stable set search_path from current as $$
begin
    if (new.ticker, new.run_date, new.simulation_id, new.recorded_at, new.kind,
        new.next_day_session, new.next_monday_session, new.one_month_session,
        new.run_date_close, new.next_day_pred, new.next_monday_pred, new.one_month_pred, new.direction_pred,
        new.abstained_reason, new.checkpoint_id, new.model_version, new.model_status, new.checkpoint_sha256,
        new.window_sha256, new.bars_recorded_until)
       is distinct from
       (old.ticker, old.run_date, old.simulation_id, old.recorded_at, old.kind,
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

-- The factor from the current price basis to the price basis of a forecast: the splits after its run date that were
-- recorded after its bars.
create function basis_ratio(of_ticker text, of_run_date date, bars_recorded_until timestamptz) returns double precision
stable return (
    select product(split.ratio) from split
    where split.ticker = of_ticker and split.session > of_run_date
      and split.recorded_at > basis_ratio.bars_recorded_until);

-- The target session of an open forecast; NULL if it is filled, abstained, or does not exist.
create function open_target(of_ticker text, of_run_date date, of_simulation bigint, of_horizon text) returns date
stable return (
    select f.target_session
    from snapshot s
    cross join lateral (values
        ('next_day', s.next_day_session, s.next_day_actual), ('next_monday', s.next_monday_session, s.next_monday_actual),
        ('one_month', s.one_month_session, s.one_month_actual)) f (horizon, target_session, actual)
    where s.ticker = of_ticker and s.run_date = of_run_date and s.simulation_id = of_simulation
      and s.abstained_reason is null
      and f.horizon = of_horizon and f.actual is null);

create table overdue_fill (
    ticker     text        not null,
    run_date   date        not null,
    simulation_id bigint not null default 0,
    horizon    horizon     not null,
    detected_at timestamptz not null default clock_timestamp(),
    primary key (ticker, run_date, simulation_id, horizon),
    foreign key (ticker, run_date, simulation_id) references snapshot
);

comment on table overdue_fill is
    'Due actuals without a bar. detected_at: when this was first detected; the wait before a void begins then.';

-- The wait for a bar begins only when the bar is due and missing.
create function overdue_fill_is_due() returns trigger language plpgsql set search_path from current as $$
declare
    target date := open_target(new.ticker, new.run_date, new.simulation_id, new.horizon);
begin
    new.detected_at := clock_timestamp();
    if target is null
       or new.detected_at < (select closes_at from trading_session where session = target)
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
    simulation_id bigint not null default 0,
    horizon        horizon     not null,
    target_session date        not null,
    reason         text        not null check (reason <> ''),
    wait_sessions  integer     not null check (wait_sessions >= 5),
    voided_at      timestamptz not null,
    primary key (ticker, run_date, simulation_id, horizon),
    foreign key (ticker, run_date, simulation_id) references snapshot
);

comment on table voided_fill is
    'Forecasts without an actual because their ticker did not trade on the target session, with the reason.';

-- A forecast can be voided only if no bar can fill it, and after the wait of the row: wait_sessions sessions, at least
-- five, of which bars of any ticker were recorded.
create function voided_fill_has_waited() returns trigger language plpgsql set search_path from current as $$
declare
    num_waited bigint;
begin
    new.voided_at := clock_timestamp();
    new.target_session := open_target(new.ticker, new.run_date, new.simulation_id, new.horizon);
    if new.target_session is null then
        raise exception 'the % forecast of % on % is not open: there is nothing to void',
            new.horizon, new.ticker, new.run_date using errcode = 'integrity_constraint_violation';
    end if;
    select count(distinct t.session) into num_waited
    from overdue_fill o
    join trading_session target on target.session = new.target_session
    join trading_session t on t.opens_at > greatest(o.detected_at, target.closes_at) and t.closes_at <= new.voided_at
    join bar on bar.session = t.session and bar.recorded_at >= t.closes_at
    where o.ticker = new.ticker and o.run_date = new.run_date and o.simulation_id = new.simulation_id
      and o.horizon = new.horizon
      and bar.recorded_at >= o.detected_at;
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

create trigger voided_fill_has_waited before insert on voided_fill
for each row execute function voided_fill_has_waited();
alter table voided_fill enable always trigger voided_fill_has_waited;
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

-- An actual must equal the one computed from the bars. STABLE, so that the function reads the bars that the filling
-- statement read; multiplied in a fixed order, so that the results are equal bit by bit. The product is basis_ratio()
-- inlined: 300,000 calls would take seconds. EXECUTE plans the query for each statement, as in fills_are_events.
create function actuals_are_those_of_the_bars() returns trigger language plpgsql stable set search_path from current as $$
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

-- Three selects, so that each uses its own partial index.
create view open_fill as
select o.ticker, o.run_date, o.simulation_id, o.horizon, o.target_session, o.pred, o.run_date_close,
       t.closes_at <= clock_timestamp() as has_closed,
       b.close * (
           select product(split.ratio order by split.session) from split
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

comment on view open_fill is
    'Open forecasts, one row per horizon; actual is NULL until a bar is recorded after the close. Voided forecasts are not open.';

create table restated_actual (
    ticker          text             not null,
    run_date        date             not null,
    simulation_id bigint not null default 0,
    horizon         horizon          not null,
    bar_recorded_at timestamptz      not null,
    target_session  date             not null,
    actual          double precision,
    restated_actual double precision not null check (restated_actual > 0 and restated_actual < 'infinity'),
    detected_at      timestamptz      not null,
    primary key (ticker, run_date, simulation_id, horizon, bar_recorded_at),
    foreign key (ticker, run_date, simulation_id) references snapshot
);

comment on table restated_actual is
    'The actual by a later vintage of the target session''s bar, on the price basis of the forecast; the recorded actual is kept. actual is NULL if the fill was voided.';

-- A restatement is computed from the vintage that it names; the values of the caller are ignored.
create function restated_actual_is_that_of_its_bar() returns trigger language plpgsql set search_path from current as $$
declare
    found record;
begin
    new.detected_at := clock_timestamp();
    select f.target_session, f.actual, v.ticker is not null as is_voided,
           bar.close * basis_ratio(s.ticker, s.run_date, s.bars_recorded_until) as restated
    into found
    from snapshot s
    cross join lateral (values
        ('next_day', s.next_day_session, s.next_day_actual), ('next_monday', s.next_monday_session, s.next_monday_actual),
        ('one_month', s.one_month_session, s.one_month_actual)) f (horizon, target_session, actual)
    join bar on bar.ticker = s.ticker and bar.session = f.target_session and bar.recorded_at = new.bar_recorded_at
    left join voided_fill v on v.ticker = s.ticker and v.run_date = s.run_date and v.simulation_id = s.simulation_id
        and v.horizon = f.horizon
    where s.ticker = new.ticker and s.run_date = new.run_date and s.simulation_id = new.simulation_id
      and f.horizon = new.horizon;
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

comment on table restatement_scan is 'The time until which bars were compared with filled actuals.';

create trigger restatement_scan_is_append_only before update or delete or truncate on restatement_scan
for each statement execute function is_append_only();
alter table restatement_scan enable always trigger restatement_scan_is_append_only;

create table shadow_forecast (
    ticker              text             not null,
    run_date            date             not null,
    simulation_id       bigint           not null default 0,
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
    primary key (ticker, run_date, simulation_id, checkpoint_id),
    foreign key (ticker, run_date, simulation_id) references snapshot
);

create index shadow_forecast_by_checkpoint on shadow_forecast (checkpoint_id, run_date);

comment on table shadow_forecast is
    'Forecasts of candidate and retired models beside the snapshot of the same session; they are not part of the record.';
comment on column shadow_forecast.model_status is 'Status of the model when it made the forecast.';

-- A shadow uses the window and bars of its snapshot, belongs to its ticker, and is not made by the snapshot's own
-- model. All compared columns are immutable, so that a concurrent promotion cannot make it fail.
create function shadow_forecast_matches_its_snapshot() returns trigger language plpgsql set search_path from current as $$
declare
    own snapshot;
    model checkpoint;
begin
    new.recorded_at := clock_timestamp();
    select * into own from snapshot
    where snapshot.ticker = new.ticker and snapshot.run_date = new.run_date and snapshot.simulation_id = new.simulation_id;
    select * into model from checkpoint where checkpoint.checkpoint_id = new.checkpoint_id;
    if (new.window_sha256, new.bars_recorded_until, new.run_date_close)
       is distinct from (own.window_sha256, own.bars_recorded_until, own.run_date_close) then
        raise exception 'the shadow of % on % used other bars than its snapshot', new.ticker, new.run_date
            using errcode = 'integrity_constraint_violation';
    elsif model.ticker is distinct from new.ticker or model.trained_on > new.run_date then
        raise exception 'checkpoint % is of % and was trained on bars up to %: it cannot forecast % on %',
            new.checkpoint_id, model.ticker, model.trained_on, new.ticker, new.run_date
            using errcode = 'integrity_constraint_violation';
    elsif model.file_removed_at is not null then
        raise exception 'the file of checkpoint % of % was removed: it can make no shadow forecast',
            new.checkpoint_id, new.ticker using errcode = 'integrity_constraint_violation';
    elsif own.abstained_reason is null and own.checkpoint_sha256 = model.file_sha256 then
        raise exception 'checkpoint % made the forecast of % on % itself and is no shadow',
            new.checkpoint_id, new.ticker, new.run_date using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger shadow_forecast_matches_its_snapshot before insert on shadow_forecast
for each row execute function shadow_forecast_matches_its_snapshot();
alter table shadow_forecast enable always trigger shadow_forecast_matches_its_snapshot;
create trigger shadow_forecast_is_append_only before update or delete or truncate on shadow_forecast
for each statement execute function is_append_only();
alter table shadow_forecast enable always trigger shadow_forecast_is_append_only;

-- Shadows with their actuals on the price basis of the shadow: the recorded actual if the snapshot is filled, so that
-- both are compared with the same price, else the actual by the current bars, as in open_fill. basis_ratio() is
-- inlined.
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
join snapshot s on (s.ticker, s.run_date, s.simulation_id) = (f.ticker, f.run_date, f.simulation_id)
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

comment on view shadow_record is 'Shadows with their actuals; in_time: the shadow was recorded before its first target session opened.';

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

-- Rows of one kind, and of one simulation if they are simulated. One row per ticker and, with ticker NULL, one for the
-- universe: the same rows pooled. The universe's interval assumes
-- independent rows; tickers are correlated, so it is too narrow. The rank is by the lower bound of the interval, so
-- that a single correct direction does not lead, then by the next-day error.
create function accuracy_30d(of_kind text, of_simulation bigint default 0) returns table (
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
            where snapshot.ticker = known.ticker and snapshot.kind = of_kind and snapshot.simulation_id = of_simulation
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
select * from accuracy_30d('live') where ticker is not null order by rank, ticker;

create view ldtm_accuracy_30d_universe as
select * from accuracy_30d('live') where ticker is null;

comment on view ldtm_accuracy_30d is
    'Per ticker over its last 30 filled live sessions: direction accuracy with its 95% Wilson interval, coverage, and mean absolute errors in percent with those of the no-change forecast.';

-- The forecast ledger: written once before the session it speaks about, filled once when the actual is known.

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
    model_status               text             check (model_status in ('active', 'candidate')),
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
        and (next_day_actual is null) = (next_day_direction_actual is null)),
    constraint snapshot_candidates_are_simulated check (model_status is distinct from 'candidate' or kind = 'simulated')
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
create function snapshot_is_dated_by_the_database() returns trigger language plpgsql as $$
begin
    new.recorded_at := clock_timestamp();
    if new.recorded_at < (select closes_at from trading_session where session = new.run_date) then
        raise exception 'session % has not closed: % cannot be forecast from it yet', new.run_date, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    if new.kind is distinct from 'simulated' then
        new.kind := case
            when new.recorded_at < (select opens_at from trading_session where session = new.next_day_session)
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

-- A forecast is never changed; a fill goes from NULL to a value once.
create function snapshot_is_written_once() returns trigger language plpgsql as $$
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
    if (old.next_day_filled_at is not null
        and (new.next_day_actual, new.next_day_pct_error, new.next_day_direction_actual,
             new.next_day_direction_correct, new.next_day_filled_at)
            is distinct from
            (old.next_day_actual, old.next_day_pct_error, old.next_day_direction_actual,
             old.next_day_direction_correct, old.next_day_filled_at))
       or (old.next_monday_filled_at is not null
           and (new.next_monday_actual, new.next_monday_pct_error, new.next_monday_filled_at)
               is distinct from (old.next_monday_actual, old.next_monday_pct_error, old.next_monday_filled_at))
       or (old.one_month_filled_at is not null
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

-- Baselines: plain models on the rows of a network. Their fits beside each checkpoint, their scores beside each backtest,
-- and their forecasts beside the snapshots. They are no part of the record: no event, no rank, no verdict counts them.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table cannot shadow one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create table fitted_baselines (
    checkpoint_id       bigint             primary key references checkpoint on delete cascade,
    num_training_rows   integer            not null,
    num_validation_rows integer            not null,
    drift               double precision   not null check (drift not in ('nan', 'infinity', '-infinity')),
    ar1_intercept       double precision   not null check (ar1_intercept not in ('nan', 'infinity', '-infinity')),
    ar1_slope           double precision   not null check (ar1_slope between -1 and 1),
    ridge_penalties     double precision[] not null check (cardinality(ridge_penalties) = 3),
    ridge_coefficients  bytea              not null check (length(ridge_coefficients) % 24 = 0),
    fitted_at           timestamptz        not null default clock_timestamp()
);

comment on table fitted_baselines is
    'Baselines fitted on the training rows of the network that they stand beside. A version that a rollback restored uses those of the checkpoint that it restores.';
comment on column fitted_baselines.drift is 'Mean log return per session.';
comment on column fitted_baselines.ar1_slope is 'Of the daily log return on the one before; held within -1 and 1.';
comment on column fitted_baselines.ridge_penalties is 'Chosen on the validation rows, by horizon; per training row.';
comment on column fitted_baselines.ridge_coefficients is
    'Little-endian float64, (inputs of a window + 1) by horizons; the last row is the intercept.';

create function fitted_baselines_have_the_rows_of_their_network() returns trigger language plpgsql set search_path from current as $$
declare
    network checkpoint;
begin
    new.fitted_at := clock_timestamp();
    select * into network from checkpoint where checkpoint.checkpoint_id = new.checkpoint_id;
    if network.restores is not null then
        raise exception 'checkpoint % of % restores checkpoint %: its baselines are on record there',
            new.checkpoint_id, network.ticker, network.restores using errcode = 'integrity_constraint_violation';
    elsif (new.num_training_rows, new.num_validation_rows)
          is distinct from (network.num_training_rows, network.num_validation_rows) then
        raise exception 'the baselines of checkpoint % of % were fitted on % training and % validation rows, the network on % and %',
            new.checkpoint_id, network.ticker, new.num_training_rows, new.num_validation_rows,
            network.num_training_rows, network.num_validation_rows using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger fitted_baselines_have_the_rows_of_their_network before insert on fitted_baselines
for each row execute function fitted_baselines_have_the_rows_of_their_network();
alter table fitted_baselines enable always trigger fitted_baselines_have_the_rows_of_their_network;

-- They go with their checkpoint alone: a candidate that the owner of the tables deletes.
create function fitted_baselines_are_kept() returns trigger language plpgsql set search_path from current as $$
begin
    if tg_op = 'DELETE' and not exists (select from checkpoint where checkpoint.checkpoint_id = old.checkpoint_id) then
        return old;
    end if;
    raise exception 'the baselines of checkpoint % are on record and cannot be altered', old.checkpoint_id
        using errcode = 'integrity_constraint_violation';
end $$;

create trigger fitted_baselines_are_kept before update or delete on fitted_baselines
for each row execute function fitted_baselines_are_kept();
alter table fitted_baselines enable always trigger fitted_baselines_are_kept;
create trigger fitted_baselines_are_never_truncated before truncate on fitted_baselines
for each statement execute function is_append_only();
alter table fitted_baselines enable always trigger fitted_baselines_are_never_truncated;

create table backtest_score (
    backtest_id       bigint           not null,
    fold              integer          not null,
    model             text             not null check (model in ('network', 'no_change', 'drift', 'ar1', 'ridge')),
    num_rows          integer          not null check (num_rows > 0),
    next_day_error    double precision not null,
    next_monday_error double precision not null,
    one_month_error   double precision not null,
    num_directional   integer          not null check (num_directional between 0 and num_rows),
    num_correct       integer          not null check (num_correct between 0 and num_directional),
    num_up            integer          not null check (num_up >= 0),
    num_down          integer          not null check (num_down >= 0 and num_up + num_down <= num_directional),
    neutral_band      double precision not null,
    primary key (backtest_id, fold, model),
    foreign key (backtest_id, fold) references backtest_fold on delete cascade
);

comment on table backtest_score is
    'Scores of the network of a fold and of its baselines on the same test rows; mean absolute errors in percent.';
comment on column backtest_score.num_up is 'Closes that rose among those for which the model named a direction.';
comment on column backtest_score.neutral_band is 'Next-day return up to which a direction counted as neutral.';

create trigger backtest_score_is_made_at_once after insert on backtest_score
referencing new table as added for each statement execute function backtest_is_made_at_once();
alter table backtest_score enable always trigger backtest_score_is_made_at_once;
create trigger backtest_score_is_append_only before update or delete or truncate on backtest_score
for each statement execute function is_append_only();
alter table backtest_score enable always trigger backtest_score_is_append_only;

create table baseline_forecast (
    ticker           text             not null,
    run_date         date             not null,
    simulation_id    bigint           not null default 0,
    baseline         text             not null check (baseline in ('drift', 'ar1', 'ridge')),
    checkpoint_id    bigint           not null references fitted_baselines,
    recorded_at      timestamptz      not null,
    next_day_pred    double precision not null check (next_day_pred not in ('nan', 'infinity', '-infinity')),
    next_monday_pred double precision not null check (next_monday_pred not in ('nan', 'infinity', '-infinity')),
    one_month_pred   double precision not null check (one_month_pred not in ('nan', 'infinity', '-infinity')),
    direction_pred   text             not null check (direction_pred in ('bullish', 'neutral', 'bearish')),
    primary key (ticker, run_date, simulation_id, baseline),
    foreign key (ticker, run_date, simulation_id) references snapshot
);

comment on table baseline_forecast is
    'Forecasts of the baselines beside the snapshot of the same session; they are not part of the record.';
comment on column baseline_forecast.checkpoint_id is 'The checkpoint whose fitted baselines made the forecast.';

-- A baseline forecast is written in the transaction of its snapshot, so that it cannot know an outcome that the network
-- did not know. Both moments come from the database's clock.
create function baseline_forecast_is_made_with_its_snapshot() returns trigger language plpgsql set search_path from current as $$
declare
    own snapshot;
    network bigint;
begin
    new.recorded_at := clock_timestamp();
    select * into own from snapshot
    where snapshot.ticker = new.ticker and snapshot.run_date = new.run_date and snapshot.simulation_id = new.simulation_id;
    select coalesce(restores, checkpoint_id) into network from checkpoint where checkpoint.checkpoint_id = own.checkpoint_id;
    if own.abstained_reason is not null then
        raise exception '% abstains on %: there is no forecast for a baseline to stand beside', new.ticker, new.run_date
            using errcode = 'integrity_constraint_violation';
    elsif own.recorded_at < transaction_timestamp() then
        raise exception 'the forecast of % on % is on record: a baseline is recorded with it or not at all',
            new.ticker, new.run_date using errcode = 'integrity_constraint_violation';
    elsif network is distinct from new.checkpoint_id then
        raise exception 'the baselines of checkpoint % do not stand beside the forecast of % on %, which checkpoint % made',
            new.checkpoint_id, new.ticker, new.run_date, network using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger baseline_forecast_is_made_with_its_snapshot before insert on baseline_forecast
for each row execute function baseline_forecast_is_made_with_its_snapshot();
alter table baseline_forecast enable always trigger baseline_forecast_is_made_with_its_snapshot;
create trigger baseline_forecast_is_append_only before update or delete or truncate on baseline_forecast
for each statement execute function is_append_only();
alter table baseline_forecast enable always trigger baseline_forecast_is_append_only;

create or replace function writer_privileges() returns table (relation name, privilege text, columns name[])
language sql immutable as $$
    select unnest(array[
        'bar', 'split', 'quarantined_bar', 'input_window', 'checkpoint', 'backtest', 'backtest_fold',
        'backtest_prediction', 'training_failure', 'gate_verdict', 'lifecycle_action', 'service_entry', 'simulation',
        'simulation_model', 'snapshot', 'shadow_forecast', 'overdue_fill', 'voided_fill', 'restated_actual', 'restatement_scan', 'ledger_seal', 'trading_session',
        'daily_attempt', 'notification', 'notification_delivery', 'alert',
        'fitted_baselines', 'backtest_score', 'baseline_forecast'
    ])::name, 'insert', null::name[]
    union all
    select unnest(array[
        'daily_attempt', 'notification', 'notification_delivery', 'alert', 'quarantined_bar', 'trading_session'
    ])::name, 'delete', null::name[]
    union all
    select unnest(array['daily_attempt', 'notification_delivery', 'alert'])::name, 'update', null::name[]
    union all values
    ('quarantined_bar'::name, 'update', array['last_seen_at', 'resolved_at']::name[]),
    ('training_failure', 'update', array['reason', 'failed_at']),
    ('checkpoint', 'update',
     array['status', 'file_name', 'major', 'version', 'activated_at', 'retired_at', 'file_removed_at']),
    ('snapshot', 'update', array['next_day_actual', 'next_monday_actual', 'one_month_actual']),
    ('trading_session', 'update', array['opens_at', 'closes_at'])
$$;

select renew_writer_privileges();

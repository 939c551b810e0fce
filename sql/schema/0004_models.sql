-- Trained networks, what they did on data they never saw, and which one of a ticker may speak.

create table checkpoint (
    checkpoint_id         bigint generated always as identity primary key,
    ticker                text             not null,
    status                text             not null default 'candidate'
                          check (status in ('candidate', 'active', 'retired')),
    trained_on            date             not null,
    architecture_sha256   text             not null,
    recipe_sha256         text             not null,
    data_sha256           text             not null,
    file_name             text             not null,
    file_sha256           text             not null,
    seed                  bigint           not null,
    num_training_rows     integer          not null,
    num_validation_rows   integer          not null,
    num_epochs            integer          not null,
    best_epoch            integer          not null,
    validation_loss       double precision not null,
    duration_seconds      double precision not null,
    device                text             not null,
    major                 integer,
    version               text,
    created_at            timestamptz      not null default clock_timestamp(),
    activated_at          timestamptz,
    retired_at            timestamptz,
    constraint checkpoint_version_once_per_ticker unique (ticker, version),
    constraint checkpoint_once_per_content
        unique (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_sha256),
    constraint checkpoint_version_is_earned check (
        (status = 'candidate' and version is null and major is null and activated_at is null)
        or (status <> 'candidate' and version is not null and major is not null and activated_at is not null)),
    constraint checkpoint_retired_has_a_date check ((status = 'retired') = (retired_at is not null))
);

create unique index checkpoint_one_active_per_ticker on checkpoint (ticker) where status = 'active';

-- Candidates are named by their content, which two trainings may share; what was promoted has a file of its own.
create unique index checkpoint_one_promotion_per_file on checkpoint (file_name) where status <> 'candidate';
create index checkpoint_newest on checkpoint (ticker, trained_on desc, checkpoint_id desc);

comment on column checkpoint.trained_on is 'The last session whose bars the training could see.';

create function checkpoint_is_immutable() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if old.status = 'candidate' then
            return old;
        end if;
        raise exception 'checkpoint % of % was promoted and cannot be deleted', old.version, old.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    if (new.ticker, new.trained_on, new.architecture_sha256, new.recipe_sha256, new.data_sha256, new.file_sha256, new.seed)
       is distinct from
       (old.ticker, old.trained_on, old.architecture_sha256, old.recipe_sha256, old.data_sha256, old.file_sha256, old.seed)
       or (old.status <> 'candidate'
           and (new.file_name, new.major, new.version, new.activated_at)
               is distinct from (old.file_name, old.major, old.version, old.activated_at)) then
        raise exception 'checkpoint % of % is on record and cannot be altered',
            coalesce(old.version, old.file_name), old.ticker using errcode = 'integrity_constraint_violation';
    end if;
    if (old.status, new.status) not in (('candidate', 'candidate'), ('candidate', 'active'),
                                        ('active', 'active'), ('active', 'retired'), ('retired', 'retired')) then
        raise exception 'a checkpoint of % cannot go from % to %', old.ticker, old.status, new.status
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger checkpoint_is_immutable before update or delete on checkpoint
for each row execute function checkpoint_is_immutable();

alter table checkpoint enable always trigger checkpoint_is_immutable;

create table backtest (
    backtest_id         bigint generated always as identity primary key,
    ticker              text        not null,
    trained_on          date        not null,
    architecture_sha256 text        not null,
    recipe_sha256       text        not null,
    data_sha256         text        not null,
    plan_sha256         text        not null,
    created_at          timestamptz not null default clock_timestamp(),
    constraint backtest_once_per_input
        unique (ticker, architecture_sha256, recipe_sha256, data_sha256, trained_on, plan_sha256)
);

comment on column backtest.plan_sha256 is 'A fingerprint of how the folds were cut: their number, length and embargo.';

create table backtest_fold (
    backtest_id         bigint           not null references backtest on delete cascade,
    fold                integer          not null,
    train_cutoff        date             not null,
    first_test_session  date             not null,
    last_test_session   date             not null,
    num_training_rows   integer          not null,
    num_validation_rows integer          not null,
    num_leakage_rows    integer          not null,
    num_epochs          integer          not null,
    validation_loss     double precision not null,
    primary key (backtest_id, fold)
);

comment on column backtest_fold.train_cutoff is
    'The furthest session that any training or validation row of the fold reads, labels included.';

create table backtest_prediction (
    backtest_id         bigint           not null,
    fold                integer          not null,
    session             date             not null,
    close               double precision not null,
    next_day_pred       double precision not null,
    next_monday_pred    double precision not null,
    one_month_pred      double precision not null,
    next_day_actual     double precision not null,
    next_monday_actual  double precision not null,
    one_month_actual    double precision not null,
    primary key (backtest_id, fold, session),
    foreign key (backtest_id, fold) references backtest_fold on delete cascade
);

create table training_failure (
    ticker              text        not null,
    part                text        not null check (part in ('checkpoint', 'backtest')),
    trained_on          date        not null,
    architecture_sha256 text        not null,
    recipe_sha256       text        not null,
    data_sha256         text        not null,
    reason              text        not null,
    failed_at           timestamptz not null default clock_timestamp(),
    primary key (ticker, part, trained_on, architecture_sha256, recipe_sha256, data_sha256)
);

comment on table training_failure is 'Why a ticker has no candidate, or its candidate no backtest: too few bars, or a loss that stopped being finite.';

create table gate_verdict (
    verdict_id    bigint generated always as identity primary key,
    ticker        text        not null,
    trained_on    date,
    checkpoint_id bigint      references checkpoint,
    backtest_id   bigint      references backtest,
    passed        boolean     not null,
    rules         jsonb       not null,
    decided_at    timestamptz not null default clock_timestamp()
);

create index gate_verdict_newest on gate_verdict (ticker, verdict_id desc);

comment on column gate_verdict.rules is 'A list of {rule, figure, bound, passed, reason}, one per rule of the gate.';
comment on column gate_verdict.trained_on is 'Of the judged candidate; NULL for a ticker that was never trained.';

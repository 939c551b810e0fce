"""Settings: what the file may say, what it may not, and what the refusal tells its owner."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ldtm_lib.errors import ConfigurationError, UnknownTicker
from ldtm_lib.settings import (
    ArchitectureConfig,
    BacktestConfig,
    ContractConfig,
    EngineConfig,
    ExportConfig,
    GateConfig,
    PublishConfig,
    Settings,
    TrainingConfig,
    WindowConfig,
    fingerprint,
    load_settings,
)

REPOSITORY = Path(__file__).parents[3]
TICKERS = 'tickers = ["AAPL", "MSFT"]\n'
Load = Callable[[str], Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a text as a configuration file."""

    def load_text(text: str) -> Settings:
        path = tmp_path / "universe.toml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path)

    return load_text


def refusal(load: Load, text: str) -> str:
    """The message, without the path that every message starts with."""
    with pytest.raises(ConfigurationError) as refused:
        load(text)
    path, _, message = str(refused.value).partition(": ")
    assert path.endswith("universe.toml")
    return message


def test_a_file_with_tickers_alone_means_the_defaults(load: Load, tmp_path: Path) -> None:
    settings = load(TICKERS)
    assert settings == Settings(path=(tmp_path / "universe.toml").resolve(), tickers=("AAPL", "MSFT"))


def test_the_defaults_are_those_of_the_specification() -> None:
    assert WindowConfig().window_sessions == 30
    assert ArchitectureConfig().model_dump() == {
        "num_inputs": 11,
        "hidden": 128,
        "num_layers": 2,
        "head_hidden": 64,
        "num_horizons": 3,
        "residual": True,
    }
    assert TrainingConfig().patience == 10
    assert BacktestConfig().num_folds == 4
    assert GateConfig().model_dump() == {
        "min_direction_accuracy": 0.52,
        "max_price_error": 0.05,
        "max_leakage_rows": 0,
        "min_folds": 2,
        "min_directional_calls": 100,
        "min_call_coverage": 0.20,
        "min_fold_sessions": 63,
        "min_lead_over_constant": 0.0,
        "comparison_significance": 0.05,
        "min_shared_sessions": 63,
        "strict": False,
        "significance": 0.05,
        "max_false_discovery_rate": 0.10,
    }


def test_a_named_setting_is_read_and_the_others_keep_their_defaults(load: Load) -> None:
    settings = load(
        TICKERS
        + "[training]\nmax_epochs = 7\nlearning_rate = 0.002\n"
        + "[partitions]\nfirst_session = 2012-12-03\n"
        + '[source]\nkind = "files"\nbasis = "raw"\n'
    )
    assert settings.training == TrainingConfig(max_epochs=7, learning_rate=0.002)
    assert settings.partitions.first_session == date(2012, 12, 3)
    assert settings.partitions.last_session is None
    assert (settings.source.kind, settings.source.basis, settings.source.folder) == ("files", "raw", "data/bars")


@pytest.mark.parametrize("name", ["universe.toml", "demo.toml"])
def test_the_files_of_the_repository_load(name: str) -> None:
    settings = load_settings(REPOSITORY / name)
    assert len(settings.tickers) == {"universe.toml": 103, "demo.toml": 5}[name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 3\n" + TICKERS, "unknown setting `epochs`; known are alerts, architecture, automation, backtest"),
        (TICKERS + "[trainings]\n", "unknown setting `trainings`; known are alerts, architecture,"),
        (
            TICKERS + "[training]\nepochs = 3\n",
            "unknown setting `training.epochs`; known are batch_size, horizon_weights,",
        ),
        (TICKERS + "[gate]\nMin_folds = 3\n", "unknown setting `gate.Min_folds`; known are comparison_significance,"),
        (TICKERS + "path = 'x'\n", "unknown setting `path`; known are"),
        ("training = 3\n" + TICKERS, "`training` must be a table, [training]"),
    ],
)
def test_a_setting_that_would_be_ignored_is_refused(load: Load, text: str, message: str) -> None:
    assert refusal(load, text).startswith(message)


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        ("training", "max_epochs = 3.0", "training.max_epochs is 3.0; it must be a whole number"),
        ("training", 'max_epochs = "3"', "training.max_epochs is '3'; it must be a whole number"),
        ("training", "max_epochs = true", "training.max_epochs is true; it must be a whole number"),
        ("training", "learning_rate = true", "training.learning_rate is true; it must be a number"),
        ("training", "learning_rate = [1]", "training.learning_rate is [1]; it must be a number"),
        ("training", "learning_rate = nan", "training.learning_rate is nan; it must be a finite number"),
        ("gate", "max_price_error = inf", "gate.max_price_error is inf; it must be a finite number"),
        ("source", "folder = 3", "source.folder is 3; it must be a text"),
        ("source", 'kind = "yahoo"', "source.kind is 'yahoo'; it must be one of sample, files, ib, url, yfinance"),
        ("source", 'basis = "split"', "source.basis is 'split'; it must be one of adjusted, raw"),
        ("publish", "push = 1", "publish.push is 1; it must be true or false"),
        ("publish", 'push = "yes"', "publish.push is 'yes'; it must be true or false"),
        ("publish", "file = true", "publish.file is true; it must be a text"),
        ("forecast", 'without_active = "x"', "forecast.without_active is 'x'; it must be one of abstain, candidate"),
        (
            "partitions",
            'last_session = "2013-03-01"',
            "partitions.last_session is '2013-03-01'; it must be a date such as 2026-03-02",
        ),
        (
            "partitions",
            "first_session = 2013-03-01T00:00:00",
            "partitions.first_session is 2013-03-01T00:00:00; it must be a date such as 2026-03-02",
        ),
    ],
)
def test_a_value_of_another_type_is_refused(load: Load, section: str, line: str, message: str) -> None:
    assert refusal(load, f"{TICKERS}[{section}]\n{line}\n") == message


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        ("window", "window_sessions = 1", "window.window_sessions is 1; it must be at least 2"),
        ("window", "warmup_bars = 18", "window.warmup_bars is 18; it must be at least 19"),
        ("architecture", "hidden = 0", "architecture.hidden is 0; it must be at least 1"),
        (
            "architecture",
            "num_inputs = 5",
            "unknown setting `architecture.num_inputs`; every network has the same inputs",
        ),
        (
            "architecture",
            "num_horizons = 4",
            "unknown setting `architecture.num_horizons`; every network has the same horizons",
        ),
        (
            "leakage",
            "sampled_windows = 5",
            "unknown setting `leakage`; every training and daily run checks samples of a fixed size",
        ),
        (
            "automation",
            "catch_up_sessions = 60",
            "unknown setting `automation.catch_up_sessions`; "
            "gaps are searched for in the last 30 sessions and since the start of an outage",
        ),
        ("retention", "operations_days = 59", "retention.operations_days is 59; it must be at least 60"),
        ("training", "batch_size = 0", "training.batch_size is 0; it must be at least 1"),
        ("training", "max_epochs = -1", "training.max_epochs is -1; it must be at least 1"),
        ("training", "patience = 0", "training.patience is 0; it must be at least 1"),
        ("training", "seed = -1", "training.seed is -1; it must be at least 0"),
        ("training", "weight_decay = -0.1", "training.weight_decay is -0.1; it must be at least 0"),
        ("training", "learning_rate = 0", "training.learning_rate is 0; it must be above 0"),
        ("training", "validation_fraction = 1", "training.validation_fraction is 1; it must be between 0 and 1"),
        ("training", "validation_fraction = 0", "training.validation_fraction is 0; it must be between 0 and 1"),
        ("backtest", "num_folds = 0", "backtest.num_folds is 0; it must be at least 1"),
        ("backtest", "embargo_sessions = -1", "backtest.embargo_sessions is -1; it must be at least 0"),
        ("gate", "min_direction_accuracy = 52", "gate.min_direction_accuracy is 52; it must be between 0 and 1"),
        ("gate", "min_shared_sessions = 1", "gate.min_shared_sessions is 1; it must be at least 2"),
        ("forecast", "neutral_band_volatilities = 0", "forecast.neutral_band_volatilities is 0; it must be above 0"),
        ("gate", "min_folds = 0", "gate.min_folds is 0; it must be at least 1"),
        ("forecast", "neutral_band = -0.001", "forecast.neutral_band is -0.001; it must be at least 0"),
        ("gpu", "max_jobs = 0", "gpu.max_jobs is 0; it must be at least 1"),
        ("gpu", "reserve_mib = -1", "gpu.reserve_mib is -1; it must be at least 0"),
        (
            "publish",
            "timestamp_timeout_seconds = 0",
            "publish.timestamp_timeout_seconds is 0; it must be above 0",
        ),
        (
            "publish",
            "timestamp_timeout_seconds = 601",
            "publish.timestamp_timeout_seconds is 601; it must be at most 600",
        ),
        ("database", 'ldtm_schema = "a-b"', "database.ldtm_schema is 'a-b'; use lower-case letters, digits and '_'"),
        ("database", 'dagster_schema = "A"', "database.dagster_schema is 'A'; use lower-case letters, digits and '_'"),
        (
            "database",
            'ldtm_schema = "x"\ndagster_schema = "x"',
            "database.ldtm_schema and database.dagster_schema are both 'x'; the record and Dagster's storage need a "
            "schema each, change one of them",
        ),
        (
            "partitions",
            "first_session = 2013-03-01\nlast_session = 2013-02-28",
            "partitions.last_session is 2013-02-28; it must not be before 2013-03-01, partitions.first_session",
        ),
    ],
)
def test_a_value_out_of_its_range_is_refused(load: Load, section: str, line: str, message: str) -> None:
    assert refusal(load, f"{TICKERS}[{section}]\n{line}\n") == message


def test_every_publication_can_be_configured(load: Load) -> None:
    settings = load(
        TICKERS
        + '[publish]\nfile = "/srv/seals.jsonl"\ngit = "../record"\npush = true\n'
        + 'timestamp_url = "https://tsa.example.org/tsr"\ntimestamp_certificates = "tsa.pem"\n'
        + "timestamp_timeout_seconds = 30\n"
    )
    assert settings.publish == PublishConfig(
        file="/srv/seals.jsonl",
        git="../record",
        push=True,
        timestamp_url="https://tsa.example.org/tsr",
        timestamp_certificates="tsa.pem",
        timestamp_timeout_seconds=30.0,
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("push = true", "publish.push is true; name the repository to push in publish.git"),
        ('file = ""', "publish.file is ''; fill it in, or remove the setting"),
        ('git = " "', "publish.git is ' '; fill it in, or remove the setting"),
        (
            'timestamp_url = "https://tsa.example.org"',
            "publish.timestamp_url is 'https://tsa.example.org'; "
            "name the PEM file with its root certificate in publish.timestamp_certificates",
        ),
        (
            'timestamp_certificates = "tsa.pem"',
            "publish.timestamp_certificates is 'tsa.pem'; name their authority in publish.timestamp_url",
        ),
        *(
            (
                f'timestamp_url = "{url}"\ntimestamp_certificates = "tsa.pem"',
                f"publish.timestamp_url is '{url}'; it must begin with http:// or https:// and a host",
            )
            for url in (
                "ftp://tsa.example.org",
                "file:///etc/passwd",
                "tsa.example.org",
                "http://",
                "https://[x",
                "http://a:b",
            )
        ),
    ],
)
def test_a_publication_that_is_half_configured_is_refused(load: Load, lines: str, message: str) -> None:
    assert refusal(load, f"{TICKERS}[publish]\n{lines}\n") == message


def test_a_ray_cluster_is_named_by_its_section(load: Load) -> None:
    lines = '[engine]\nkind = "ray"\naddress = "10.0.0.5:6379"\ntickers_per_shard = 4\ncpus = 2\n'
    assert load(TICKERS + lines).engine == EngineConfig(
        kind="ray", address="10.0.0.5:6379", tickers_per_shard=4, cpus=2
    )
    assert load(TICKERS).engine == EngineConfig(kind="local")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("cpus = 2", 'engine.cpus is set while engine.kind is "local"; set engine.kind = "ray"'),
        (
            'kind = "ray"\naddress = "ray://10.0.0.5:10001"',
            "engine.address is 'ray://10.0.0.5:10001'; write it as in",
        ),
        ('kind = "ray"\ncpus = 0', "engine.cpus is 0; it must be at least 1"),
        ('kind = "dask"', "engine.kind is 'dask'; it must be one of local, ray"),
    ],
)
def test_a_setting_of_the_engine_that_would_be_ignored_is_refused(load: Load, lines: str, words: str) -> None:
    assert refusal(load, f"{TICKERS}[engine]\n{lines}\n").startswith(words)


def test_engines_can_be_configured(load: Load) -> None:
    lines = 'engine = "tensorrt-rtx"\nengine_precision = "fp16"\nengine_compute_capability = "12.0"\n'
    assert load(f"{TICKERS}[export]\n{lines}").export == ExportConfig(
        engine="tensorrt-rtx", engine_precision="fp16", engine_compute_capability="12.0"
    )
    assert load(TICKERS).export == ExportConfig(enabled=False, engine="none")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('engine = "onnx"', "export.engine is 'onnx'; it must be"),
        (
            'engine_precision = "fp16"',
            "export.engine_precision is set while export.engine is none; set both or neither",
        ),
        (
            'engine = "tensorrt"\nengine_compute_capability = "9.0"',
            "export.engine_compute_capability is '9.0', which applies only to `tensorrt-rtx`, but export.engine is "
            "tensorrt; remove it",
        ),
        (
            'engine = "tensorrt-rtx"\nengine_compute_capability = "89"',
            "export.engine_compute_capability is '89'; write it as in 8.9",
        ),
        (
            'engine = "tensorrt-rtx"\nengine_compute_capability = 8.9',
            "export.engine_compute_capability is 8.9; it must be a text",
        ),
    ],
)
def test_an_engine_that_no_tensorrt_builds_is_refused(load: Load, lines: str, message: str) -> None:
    assert refusal(load, f"{TICKERS}[export]\n{lines}\n").startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", '`tickers` must be a list of names such as ["AAPL", "MSFT"]'),
        ("tickers = []", '`tickers` must be a list of names such as ["AAPL", "MSFT"]'),
        ('tickers = "AAPL"', '`tickers` must be a list of names such as ["AAPL", "MSFT"]'),
        ('tickers = ["AAPL", 3]', "3 cannot be a ticker; use letters, digits, '.', '-', '_', '^', '/' and '='"),
        ('tickers = ["AAPL", ""]', "'' cannot be a ticker; use letters, digits, '.', '-', '_', '^', '/' and '='"),
        ('tickers = ["BRK B"]', "'BRK B' cannot be a ticker; use letters, digits, '.', '-', '_', '^', '/' and '='"),
        ('tickers = ["../X"]', "'../X' cannot be a ticker; use letters, digits, '.', '-', '_', '^', '/' and '='"),
        ('tickers = ["A|B"]', "'A|B' cannot be a ticker; use letters, digits, '.', '-', '_', '^', '/' and '='"),
        ('tickers = ["A\\nB"]', "'A\\nB' cannot be a ticker; use letters, digits, '.', '-', '_', '^', '/' and '='"),
        ('tickers = ["A\\n"]', "'A\\n' cannot be a ticker; use letters, digits, '.', '-', '_', '^', '/' and '='"),
        ('tickers = ["AAPL", "IBM", "AAPL"]', "AAPL is in `tickers` twice; remove one"),
    ],
)
def test_a_list_of_tickers_that_cannot_be_meant_is_refused(load: Load, text: str, message: str) -> None:
    assert refusal(load, text) == message


def test_tickers_with_dots_and_dashes_keep_their_names_and_order(load: Load) -> None:
    assert load('tickers = ["MSFT", "BRK.B", "BF-B", "A_1"]').tickers == ("MSFT", "BRK.B", "BF-B", "A_1")


def test_a_retired_ticker_stays_known_and_leaves_the_universe_on_its_date(load: Load) -> None:
    settings = load('tickers = ["AAPL", "OLD", "MSFT"]\n[retired]\nOLD = 2026-03-02\n')
    assert settings.tickers == ("AAPL", "OLD", "MSFT")
    assert settings.require_ticker("OLD") == "OLD"
    assert settings.tickers_on(date(2026, 2, 27)) == ("AAPL", "OLD", "MSFT")
    assert settings.tickers_on(date(2026, 3, 2)) == ("AAPL", "MSFT")
    assert settings.tickers_on(date(2026, 3, 3)) == ("AAPL", "MSFT")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TICKERS + "[retired]\nOLD = 2026-03-02",
            "retired ticker OLD must stay in `tickers`, since its history is kept",
        ),
        (TICKERS + '[retired]\nAAPL = "soon"', "retired.AAPL is 'soon'; it must be a date such as 2026-03-02"),
        (
            TICKERS + "[retired]\nAAPL = 2026-03-02T10:00:00",
            "retired.AAPL is 2026-03-02T10:00:00; it must be a date such as 2026-03-02",
        ),
        ('retired = ["AAPL"]\n' + TICKERS, "[retired] must be a table such as XYZ = 2026-03-02"),
    ],
)
def test_a_retirement_that_cannot_be_meant_is_refused(load: Load, text: str, message: str) -> None:
    assert refusal(load, text) == message


def test_an_unknown_ticker_is_refused_with_the_file_to_edit(load: Load, tmp_path: Path) -> None:
    settings = load(TICKERS)
    assert settings.require_ticker("MSFT") == "MSFT"
    with pytest.raises(
        UnknownTicker, match=r"XYZ is not in the universe of .*universe\.toml; add it to `tickers` there"
    ):
        settings.require_ticker("XYZ")


def test_a_file_that_is_missing_broken_or_no_text_says_which_and_why(load: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no configuration at .*none\.toml; `ldtm init` creates one"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(ConfigurationError, match=r"universe\.toml is not valid TOML: .*line 2"):
        load(TICKERS + "[training\n")
    (tmp_path / "latin.toml").write_bytes(b'tickers = ["\xe9"]')
    with pytest.raises(ConfigurationError, match=r"latin\.toml cannot be read as text: .*utf-8"):
        load_settings(tmp_path / "latin.toml")
    with pytest.raises(ConfigurationError, match=r"cannot be read as text: .*[Dd]irectory"):
        load_settings(tmp_path)


@given(hidden=st.integers(1, 999), layers=st.integers(1, 9))
def test_a_fingerprint_depends_on_every_value(hidden: int, layers: int) -> None:
    changed = ArchitectureConfig(hidden=hidden, num_layers=layers)
    assert (changed.fingerprint() == ArchitectureConfig().fingerprint()) == (changed == ArchitectureConfig())
    assert changed.fingerprint() == ArchitectureConfig(num_layers=layers, hidden=hidden).fingerprint()


def test_an_architecture_without_residual_heads_keeps_the_fingerprint_of_before_there_were_any() -> None:
    """Models in a registry are known by it; `major` stays where the architecture did."""
    before = "640cff3c74943928fdf313bedfad54a6529d765062f9f424dc82ef9bbbd52404"
    assert ArchitectureConfig(residual=False).fingerprint() == before != ArchitectureConfig().fingerprint()


def test_a_fingerprint_tells_settings_with_equal_numbers_apart() -> None:
    assert fingerprint(WindowConfig()) != fingerprint(ArchitectureConfig())
    assert fingerprint(WindowConfig(), TrainingConfig()) != fingerprint(WindowConfig())
    assert len(fingerprint(WindowConfig())) == 64


def test_a_whole_number_for_a_float_has_the_fingerprint_of_that_float(load: Load) -> None:
    whole = load(TICKERS + "[training]\nlearning_rate = 1\n").training
    assert fingerprint(whole) == fingerprint(load(TICKERS + "[training]\nlearning_rate = 1.0\n").training)


def test_settings_cannot_be_changed_after_they_were_read(load: Load) -> None:
    with pytest.raises(ValidationError, match="Instance is frozen"):
        load(TICKERS).training.max_epochs = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_a_changed_copy_is_validated_like_a_file(load: Load) -> None:
    settings = load(TICKERS)
    assert settings.replace(gate=settings.gate.replace(min_folds=3)).gate == GateConfig(min_folds=3)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        settings.gate.replace(min_folds=0)
    with pytest.raises(ValidationError, match="twice"):
        settings.replace(tickers=("AAPL", "AAPL"))


def test_the_value_of_an_unknown_setting_is_not_shown(load: Load) -> None:
    assert "hunter2" not in refusal(load, TICKERS + '[database]\npassword = "hunter2"\n')
    assert "hunter2" not in refusal(load, TICKERS + 'database = "postgresql://me:hunter2@db"\n')


def test_a_ui_that_others_may_reach_needs_the_owner_to_say_so(load: Load) -> None:
    assert "has no login" in refusal(load, TICKERS + '[ui]\nhost = "0.0.0.0"\n')
    assert load(TICKERS + '[ui]\nhost = "0.0.0.0"\nallow_other_addresses = true\n').ui.host == "0.0.0.0"
    assert load(TICKERS + '[ui]\nhost = "::1"\n').ui.host == "::1"


def test_a_contract_is_named_by_its_ticker(load: Load) -> None:
    settings = load(TICKERS + '[contracts.AAPL]\nexchange = "ISLAND"\ncon_id = 265598\n')
    assert settings.contracts == {"AAPL": ContractConfig(exchange="ISLAND", con_id=265598)}
    assert "contracts.XYZ is set, but `tickers` lacks XYZ" in refusal(load, TICKERS + "[contracts.XYZ]\ncon_id = 1\n")
    assert "unknown setting `contracts.AAPL.conid`" in refusal(load, TICKERS + "[contracts.AAPL]\nconid = 1\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("con_id = 0", "contracts.AAPL.con_id is 0; it must be at least 1"),
        ('symbol = ""', "contracts.AAPL.symbol is ''; fill it in, or remove the setting"),
        ('con_id = 1\nsymbol = "AAPL"', "contracts.AAPL.symbol is ignored, since con_id identifies the contract"),
        ('con_id = 1\ncurrency = "USD"', "contracts.AAPL.currency is ignored, since con_id"),
        ('con_id = 1\nprimary_exchange = "NYSE"', "contracts.AAPL.primary_exchange is ignored, since con_id"),
    ],
)
def test_a_contract_that_names_nothing_or_too_much_is_refused(load: Load, text: str, words: str) -> None:
    assert words in refusal(load, TICKERS + f"[contracts.AAPL]\n{text}\n")


def test_a_key_that_stands_in_the_file_is_refused_without_being_shown(load: Load) -> None:
    for line in (
        'url = "https://a.example/{ticker}?apikey=s3cret"',
        'url = ["https://a.example/s3cret"]',
        'headers = { Authorization = "Token s3cret" }',
    ):
        message = refusal(load, f"{TICKERS}[url]\n{line}\n")
        assert message.startswith("url.")
        assert "s3cret" not in message
    assert refusal(load, f"{TICKERS}[url]\nheaders = 's3cret'\n") == (
        'url.headers must be a table such as { Authorization = "LDTM_PRICES_TOKEN" }'
    )


def test_a_place_in_json_counts_for_json_alone(load: Load) -> None:
    assert refusal(load, f'{TICKERS}[url]\nrecords = "results"\n') == (
        "url.records is 'results', which applies to JSON only; set url.format = \"json\""
    )
    assert refusal(load, f'{TICKERS}[url]\ncolumns = {{ price = "p" }}\n').startswith("url.columns.price")


def test_spellings_of_a_source_belong_to_a_ticker_of_the_file(load: Load) -> None:
    settings = load('tickers = ["BRK.B"]\n[symbols]\n"BRK.B" = "brk-b.us"\n')
    assert settings.symbols == {"BRK.B": "brk-b.us"}
    assert refusal(load, f'{TICKERS}[symbols]\nXYZ = "x"\n') == (
        "symbols.XYZ is set, but `tickers` lacks XYZ; add it there"
    )
    assert refusal(load, f"{TICKERS}symbols = 3\n") == '[symbols] must be a table such as "BRK.B" = "brk-b.us"'
    assert refusal(load, f"{TICKERS}[symbols]\nBRK.B = 'x'\n").startswith("symbols.BRK is")


@pytest.mark.parametrize("ticker", ["^GSPC", "BRK.B", "RDS/A", "EURUSD=X", "BF-B", "A_B", "aapl"])
def test_a_ticker_may_have_the_signs_of_indices_and_share_classes(load: Load, ticker: str) -> None:
    assert load(f'tickers = ["{ticker}"]\n').tickers == (ticker,)


@pytest.mark.parametrize("ticker", ["..", "A..B", "^", "A|B", "A B", "A,B", "A%B", "A\\\\B", "A*B", "Ä"])
def test_a_ticker_that_no_partition_or_file_can_have_is_refused(load: Load, ticker: str) -> None:
    assert "cannot be a ticker; use letters, digits" in refusal(load, f'tickers = ["{ticker}"]\n')


def test_tickers_that_differ_in_capital_letters_alone_are_refused(load: Load) -> None:
    assert refusal(load, 'tickers = ["AAPL", "aapl"]\n').startswith(
        "AAPL and aapl in `tickers` differ only in capital letters"
    )

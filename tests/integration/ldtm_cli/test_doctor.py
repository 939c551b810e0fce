"""`ldtm doctor` looks at everything: what is broken has a remedy and hides nothing else."""

import io
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

from ldtm_cli.commands.doctor import print_findings
from ldtm_cli.commands.init import create_project, next_steps
from ldtm_cli.database_diagnosis import wrong_clock
from ldtm_cli.diagnosis import examine, gpu_finding
from ldtm_cli.finding import Finding
from ldtm_lib.alerts.alert import Alert, raise_alerts
from ldtm_lib.alerts.channels import valid_channels
from ldtm_lib.alerts.delivery import deliver
from ldtm_lib.alerts.notifications import compose_notifications
from ldtm_lib.database.connection import Database, address
from ldtm_lib.database.identity import KnownDatabase, remember_database
from ldtm_lib.gpu.devices import GpuInventory
from ldtm_lib.prices.sources import yahoo
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import GpuConfig, load_settings
from tests.integration.audit.publications.time_stamp_authority import TimeStampAuthority, needs_openssl
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths, masked
from tests.integration.prices.url.web_service import Reply, serving

FILES = """
tickers = [{tickers}]
[source]
kind = "files"
folder = "bars"
basis = "adjusted"
"""
HEADER = "date,open,high,low,close,volume\n"
NOT_SOUND = ("GPU", "access", "disk", "role", "settings")
"""Findings that are warnings on the machine and the server of the tests."""
UNGUARDED = "alter table ldtm.trading_session disable trigger user"
"""Lets a test put the calendar into a state that its triggers refuse."""
DEAD_SERVER = "postgresql://me:top-secret@127.0.0.1:1/prices"


def configure(folder: Path, *tickers: str, text: str = FILES) -> Path:
    config = folder / "universe.toml"
    config.write_text(text.format(tickers=", ".join(f'"{ticker}"' for ticker in tickers or ("AAPL", "MSFT"))))
    (folder / "bars").mkdir(exist_ok=True)
    return config


def findings_of(config: Path, url: str | None = None) -> dict[str, Finding]:
    """The findings by what was looked at; whatever failed must say what to do."""
    environ: Mapping[str, str] = {"LDTM_DATABASE_URL": url} if url else {}
    findings = {finding.what: finding for finding in examine(config, environ)}
    assert [finding.what for finding in findings.values() if finding.level == "fail" and not finding.remedy] == []
    return findings


def compare_findings(name: str, findings: dict[str, Finding], folder: Path, url: str) -> None:
    """Compare findings with a kept output, without what depends on the machine, its versions and the day."""
    known = conninfo_to_dict(url)
    masks = {
        re.escape(str(folder)): "/home/ldtm",
        re.escape(address(url)): "127.0.0.1:5432/ldtm",
        rf"\b{known['dbname']}\b": "ldtm",
        r"(?<=[A-Za-z] )(?!127)\d+\.[\w.+]+": "1.2.3",
        r"\b20\d\d-\d\d-\d\d\b": "2026-11-30",
        r"\d+\.\d GiB": "120.0 GiB",
    }

    gpu = gpu_finding(GpuInventory(gpus=(), note="no GPU: the NVIDIA driver is not loaded"), GpuConfig(), None)
    shown = [gpu if each.what == "GPU" else each for each in findings.values()]
    compare_at_all_widths(name, lambda console: print_findings(console, masked(shown, masks)))


def test_a_sound_installation_has_no_failure(tmp_path: Path, database: Database) -> None:
    config = configure(tmp_path)
    for ticker in ("AAPL", "MSFT"):
        (tmp_path / "bars" / f"{ticker}.csv").write_text(HEADER)
    findings = findings_of(config, database.url)
    assert list(findings) == [
        *(
            "configuration",
            "packages",
            "database",
            "folder",
            "settings",
            "Dagster",
            "schema",
            "clock",
            "universe",
            "role",
            "access",
        ),
        *("calendar", "source", "UI", "GPU", "alerts", "disk"),
    ]
    assert findings["settings"].found == (
        "fsync is off, so a crash of the machine can damage or lose what is on record; "
        "full_page_writes is off, so a crash of the machine can damage or lose what is on record"
    ), "tests do not wait for the disk"
    assert findings["Dagster"].found == "its storage is schema ldtm_dagster of the same database"
    assert findings["role"].level == "warn", "tests connect as the owner of the tables"
    assert findings["role"].found == "postgres is a superuser: it could bypass the rules of the record"
    sound = {what: finding.level for what, finding in findings.items() if what not in NOT_SOUND}
    assert sound == dict.fromkeys(sound, "ok")
    assert findings["source"].found == "adjusted prices in folder bars: 2 of 2 tickers have bars there"
    compare_findings("doctor", findings, tmp_path, database.url)


def test_a_ui_that_others_reach_is_a_warning(tmp_path: Path) -> None:
    config = configure(tmp_path)
    assert findings_of(config)["UI"].found == "served on 127.0.0.1, reachable only from this machine"
    config.write_text(config.read_text() + '\n[ui]\nhost = "0.0.0.0"\nallow_other_addresses = true\n')
    ui = findings_of(config)["UI"]
    assert (ui.level, ui.found) == (
        "warn",
        "served on 0.0.0.0 without a login: anyone who can reach that address can do anything there",
    )
    assert "put a reverse proxy with a login in front of it" in ui.remedy


def alerts_of(config: Path, environ: Mapping[str, str]) -> Finding:
    (found,) = [finding for finding in examine(config, environ) if finding.what == "alerts"]
    return found


def test_channels_are_shown_without_their_secret_and_an_invalid_address_is_a_failure(tmp_path: Path) -> None:
    config = configure(tmp_path)
    sound = alerts_of(config, {"LDTM_ALERT_URLS": "jsons://hooks.example.org/T0KEN mailtos://me:T0KEN@example.org"})
    assert (sound.level, sound.found) == ("ok", "sent to jsons://hooks.example.org and mailtos://example.org")
    wrong = alerts_of(config, {"LDTM_ALERT_URLS": "jsons://hooks.example.org/T0KEN hooks.example.org/T0KEN"})
    assert wrong.level == "fail"
    assert wrong.found.startswith("address 2 of 2 in LDTM_ALERT_URLS is not an address that apprise accepts; write one")
    assert "T0KEN" not in wrong.found + str(wrong.remedy)


def test_a_missing_channel_is_a_warning_only_with_automation_on(tmp_path: Path) -> None:
    assert alerts_of(configure(tmp_path), {}).level == "ok"
    found = alerts_of(configure(tmp_path, text=FILES + "[automation]\nenabled = true\n"), {})
    assert (found.level, found.found) == ("warn", "not sent to anyone: they stay in the tables")
    assert "LDTM_ALERT_URLS" in found.remedy


def test_notifications_that_a_channel_has_not_accepted_are_a_warning(tmp_path: Path, database: Database) -> None:
    url = "json://127.0.0.1:1/T0KEN"
    (way,) = valid_channels({"LDTM_ALERT_URLS": url})
    with database.transaction() as conn:
        raise_alerts(conn, [Alert(key="run/1", kind="run", severity="error", subject="a job", summary="failed")])
        compose_notifications(conn, [way], ui_url="http://127.0.0.1:3000")
    assert deliver(database, [way], give_up_after_hours=72).num_delivered == 0
    found = alerts_of(configure(tmp_path), {"LDTM_DATABASE_URL": database.url, "LDTM_ALERT_URLS": url})
    assert (found.level, found.found.splitlines()) == (
        "warn",
        [
            "sent to json://127.0.0.1:1",
            "json://127.0.0.1:1: 1 notification waiting, 0 given up (json://127.0.0.1:1 could not be reached)",
        ],
    )


@pytest.mark.parametrize("text", [None, "tickers = [", 'tickers = ["AAPL"]\n[training]\nepochs = 3\n'])
def test_a_broken_configuration_is_one_failure_and_the_rest_is_checked(
    tmp_path: Path, database: Database, text: str | None
) -> None:
    config = tmp_path / "universe.toml"
    if text is not None:
        config.write_text(text)
    findings = findings_of(config, database.url)
    assert [what for what, finding in findings.items() if finding.level == "fail"] == ["configuration"]
    assert findings["configuration"].remedy == (
        f"correct {config}, or name another configuration with --config or LDTM_CONFIG"
    )
    assert findings["database"].found.startswith("PostgreSQL ")
    assert {"packages", "calendar", "GPU", "disk"} <= findings.keys()
    alone = findings_of(config)
    assert alone["database"].level == "warn"
    assert "LDTM_DATABASE_URL" in alone["database"].remedy


def test_a_server_that_does_not_answer_hides_nothing_else(tmp_path: Path) -> None:
    findings = findings_of(configure(tmp_path), DEAD_SERVER)
    assert findings["database"].level == "fail"
    assert "PostgreSQL at 127.0.0.1:1/prices does not answer" in findings["database"].found
    assert findings["database"].remedy.startswith("start that server, or correct LDTM_DATABASE_URL")
    assert {"calendar", "source", "GPU", "disk"} <= findings.keys()
    assert not {"schema", "clock"} & findings.keys()
    assert "top-secret" not in str(findings)
    broken = findings_of(tmp_path / "nowhere" / "universe.toml", DEAD_SERVER)
    assert [what for what, finding in broken.items() if finding.level == "fail"] == ["configuration", "database"]
    compare_findings("doctor-failures", broken, tmp_path, DEAD_SERVER)


def test_a_url_that_is_none_is_a_failure_of_the_database_alone(tmp_path: Path) -> None:
    findings = findings_of(configure(tmp_path), "host=somewhere; drop")
    assert (findings["database"].level, "source" in findings) == ("fail", True)
    assert "is not a PostgreSQL URL" in findings["database"].found


def test_no_server_at_all_is_a_warning_that_says_how_to_start_one(tmp_path: Path) -> None:
    database = findings_of(configure(tmp_path))["database"]
    assert (database.level, database.remedy) == ("warn", "`ldtm bootstrap` and `ldtm up` start it")


def test_a_schema_without_rights_or_steps_is_a_failure_with_its_remedy(
    tmp_path: Path, database: Database, empty_database: Database
) -> None:
    config = configure(tmp_path)
    assert findings_of(config, empty_database.url)["schema"].remedy == "run `ldtm db migrate`"
    with psycopg.connect(database.url) as conn:
        conn.execute("alter table ldtm.schema_migration rename column file_name to other")
    findings = findings_of(config, database.url)
    assert (findings["database"].level, findings["schema"].level) == ("ok", "fail")
    assert "GPU" in findings


def test_a_role_that_lacks_a_right_is_a_failure_with_the_command_that_gives_it(
    tmp_path: Path, database: Database
) -> None:
    config, role = configure(tmp_path), f"ldtm_doctor_{os.getpid()}"
    url = database.url.replace("//postgres@", f"//{role}:secret@")
    assert url != database.url
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("set search_path to ldtm")
        conn.execute(sql.SQL("create role {} login password 'secret'").format(sql.Identifier(role)))
        try:
            conn.execute("select grant_writer_privileges(%s)", (role,))
            sound = findings_of(config, url)["role"]
            conn.execute(sql.SQL("revoke insert on shadow_forecast from {}").format(sql.Identifier(role)))
            conn.execute(sql.SQL("grant delete on snapshot to {}").format(sql.Identifier(role)))
            lacking = findings_of(config, url)["role"]
        finally:
            conn.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
            conn.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
    assert (sound.level, sound.found) == ("ok", f"{role} can add to the record but not change it")
    assert (lacking.level, lacking.remedy) == ("fail", f"as the owner of the tables run `ldtm db grant {role}`")
    assert lacking.found == (
        f"{role} may not add to shadow_forecast; may delete from, truncate or put triggers on snapshot: "
        "some operations of LDTM will fail"
    )


def test_a_database_that_every_role_may_connect_to_is_a_warning_with_the_statement(
    tmp_path: Path, database: Database
) -> None:
    config, name = configure(tmp_path), psycopg.conninfo.conninfo_to_dict(database.url)["dbname"]
    access = findings_of(config, database.url)["access"]
    assert access.level == "warn"
    assert access.remedy == (
        "if nothing else uses the database, run as its owner: "
        f"grant connect on database {name} to postgres; revoke connect on database {name} from public"
    )
    with psycopg.connect(database.url) as conn:
        for statement in access.remedy.partition(": ")[2].split("; "):
            conn.execute(statement.encode())
    assert findings_of(config, database.url)["access"].level == "ok"


def test_a_database_that_knows_no_closed_session_has_a_remedy(tmp_path: Path, database: Database) -> None:
    with psycopg.connect(database.url) as conn:
        conn.execute(UNGUARDED)
        conn.execute("delete from ldtm.trading_session")
    clock = findings_of(configure(tmp_path), database.url)["clock"]
    assert clock.level == "fail"
    assert clock.remedy.endswith("then run `ldtm db migrate`")


def test_a_clock_that_is_wrong_is_named_with_its_distance() -> None:
    assert wrong_clock([("this machine", timedelta(seconds=29)), ("an authority", timedelta(seconds=-29))]) is None
    ahead = wrong_clock([("this machine", timedelta(0)), ("https://tsa.example", timedelta(hours=1))])
    assert ahead is not None
    assert (ahead.level, ahead.found) == (
        "fail",
        "the clock of the database is 3600 s ahead of that of https://tsa.example",
    )
    behind = wrong_clock([("this machine", -timedelta(minutes=2))])
    assert behind is not None
    assert behind.found == "the clock of the database is 120 s behind that of this machine"


@needs_openssl
def test_the_clock_is_compared_with_this_machine_and_with_the_authority(tmp_path: Path, database: Database) -> None:
    with TimeStampAuthority(tmp_path / "authority") as authority:
        stamps = authority.time_stamps(tmp_path / "tokens")
        asked = f'[publish]\ntimestamp_url = "{stamps.url}"\ntimestamp_certificates = "{stamps.certificates}"\n'
        config = configure(tmp_path)
        config.write_text(config.read_text() + asked)
        clock = findings_of(config, database.url)["clock"]
        assert clock.level == "ok"
        assert clock.found.endswith(f"its clock agrees with this machine and {stamps.url}")
    clock = findings_of(config, database.url)["clock"]
    assert clock.level == "warn"
    assert clock.found.startswith(f"the time-stamp authority gave no time: {stamps.url} cannot be reached")


def test_a_session_that_this_process_does_not_know_is_a_warning_with_a_remedy(
    tmp_path: Path, database: Database
) -> None:
    with psycopg.connect(database.url) as conn:
        conn.execute(UNGUARDED)
        conn.execute("delete from ldtm.trading_session where closes_at > '2024-07-04'")
        conn.execute("insert into ldtm.trading_session values ('2024-07-04', '2024-07-04 13:30Z', '2024-07-04 20:00Z')")
    clock = findings_of(configure(tmp_path), database.url)["clock"]
    assert (clock.level, clock.found) == (
        "warn",
        "2024-07-04 is a session for the database, but not for this process",
    )
    assert clock.remedy.endswith("then run `ldtm db migrate`")


def test_tickers_without_a_file_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    config = configure(tmp_path, "AAPL", *"ABCDEFG")
    source = findings_of(config)["source"]
    assert (source.level, source.found) == (
        "fail",
        "adjusted prices in folder bars: 0 of 8 tickers have bars there; none for AAPL, A, B, C, D and 3 more",
    )
    assert source.remedy.startswith("add a file named after each")
    for name in ("aapl.us.txt", "sub/A.parquet", "B.csv", "ZZZ.csv"):
        path = tmp_path / "bars" / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".parquet":
            pl.read_csv(HEADER.encode()).write_parquet(path)
        else:
            path.write_text(HEADER + "bars that are never read\n")
    config.write_text(config.read_text() + "[retired]\nG = 2020-01-02\n")
    source = findings_of(config)["source"]
    assert (source.level, source.found) == (
        "warn",
        "adjusted prices in folder bars: 3 of 7 tickers have bars there; none for C, D, E, F",
    )
    (tmp_path / "bars" / "all.csv").write_text("ticker,date,open,high,low,close,volume\nC,2024-01-29,1,1,1,1,1\n")
    source = findings_of(config)["source"]
    assert source.level == "ok"
    assert source.found.endswith(
        "; no readable file is named after C, D, E, F, but 1 file with a ticker column may hold their bars"
    )


def test_a_file_that_cannot_be_read_is_not_counted_and_named(tmp_path: Path) -> None:
    config = configure(tmp_path)
    (tmp_path / "bars" / "AAPL.csv").write_text(HEADER)
    (tmp_path / "bars" / "MSFT.csv").write_text("<html>")
    source = findings_of(config)["source"]
    assert source.level == "warn"
    assert source.found.startswith(
        "adjusted prices in folder bars: 1 of 2 tickers have bars there; MSFT.csv, line 1 names no columns of bars: "
        "'<html>'"
    )


def test_settings_that_no_connection_can_pin_are_named(tmp_path: Path, database: Database) -> None:
    with psycopg.connect(database.url, autocommit=True) as admin:
        name = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(database.url)["dbname"]))
        for setting, value in (("session_replication_role", "replica"), ("statement_timeout", "1min")):
            admin.execute(sql.SQL("alter database {} set {} = {}").format(name, sql.Identifier(setting), value))
    settings = findings_of(configure(tmp_path), database.url)["settings"]
    assert settings.level == "warn"
    assert "session_replication_role is replica, so ordinary triggers do not run" in settings.found
    assert "statement_timeout is 1min, which ends longer work" in settings.found


def test_a_folder_of_another_database_is_a_failure(tmp_path: Path, database: Database) -> None:
    config = configure(tmp_path)
    home = tmp_path / ".ldtm" / "ldtm"
    known = KnownDatabase(installation_id="of another one", address="db.example.org:5432/prices")
    remember_database(home, known)
    folder = findings_of(config, database.url)["folder"]
    assert (folder.level, "holds another record" in folder.found) == ("fail", True)
    without_url = findings_of(config)["database"]
    assert (without_url.level, without_url.remedy) == ("fail", "set LDTM_DATABASE_URL")
    assert "of the database at db.example.org:5432/prices" in without_url.found


def test_the_sample_is_asked_likewise(tmp_path: Path) -> None:
    source = findings_of(configure(tmp_path, "AAPL", "NVDA", text="tickers = [{tickers}]"))["source"]
    assert (source.level, source.found) == ("warn", "sample: 1 of 2 tickers have bars there; none for NVDA")
    assert source.remedy == "remove tickers without bars from universe.toml"


def test_a_source_that_is_not_described_is_a_failure_of_its_own(tmp_path: Path) -> None:
    config = configure(tmp_path)
    (tmp_path / "bars").rmdir()
    source = findings_of(config)["source"]
    assert (source.level, source.remedy) == ("fail", f"correct [source] in {config}")
    shown = io.StringIO()
    print_findings(Console(file=shown, width=300), [source])
    assert f"correct [source] in {config}" in shown.getvalue()


URL = """
tickers = [{{tickers}}]
[source]
kind = "url"
basis = "adjusted"
[url]
url = "{url}/{{{{ticker}}}}?apikey={{{{env:LDTM_PRICES_KEY}}}}"
"""


def source_of(config: Path, **environ: str) -> Finding:
    (found,) = [finding for finding in examine(config, environ) if finding.what == "source"]
    return found


def test_a_web_service_is_asked_once_and_a_missing_key_named(tmp_path: Path) -> None:
    with serving() as service:
        config = configure(tmp_path, text=URL.format(url=service.url))
        missing = source_of(config)
        assert missing.level == "fail"
        assert missing.found.startswith("[url] names environment variables that are not set: LDTM_PRICES_KEY; export")
        assert service.received == []
        closed = exchange_calendar().last_closed(datetime.now(UTC))
        service.replies["AAPL"] = Reply(body=f"Date,Open,High,Low,Close,Volume\n{closed},1,2,1,2,5\n".encode())
        found = source_of(config, LDTM_PRICES_KEY="s3cret-key")
        assert (found.level, found.found) == (
            "ok",
            f"url: {service.url} delivers AAPL, the newest bar is of {closed}",
        )
        assert [request.path for request in service.received] == ["/AAPL?apikey=s3cret-key"]
        service.replies["AAPL"] = Reply(status=403, body=b"s3cret-key has expired")
        refused = source_of(config, LDTM_PRICES_KEY="s3cret-key")
        assert refused.level == "fail"
        assert refused.found.endswith("answers with the status 403 Forbidden: *** has expired")
        assert refused.remedy.startswith("check the key in the environment variable")


def test_yahoo_without_its_package_is_a_failure_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yahoo, "find_spec", lambda name: None)
    found = source_of(configure(tmp_path, text='tickers = [{tickers}]\n[source]\nkind = "yfinance"\n'))
    assert found.level == "fail"
    assert "the package yfinance is not installed; run" in found.found


@pytest.mark.parametrize("source", ["files", "ib", "url", "yfinance"])
def test_a_new_project_may_have_any_source(tmp_path: Path, source: str) -> None:
    config = tmp_path / source / "universe.toml"
    create_project(config, ["AAPL", "^GSPC"], source)
    assert load_settings(config).source.kind == source
    assert "Next steps" in next_steps(config, source)

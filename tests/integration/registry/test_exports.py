"""Exports of active models: made once per version, certified, removed with it, and refused one by one."""

from datetime import date
from pathlib import Path

import pytest
import torch

from ldtm_lib.database.connection import Database
from ldtm_lib.export.certificate import read_certificate
from ldtm_lib.export.onnx_file import OnnxFile
from ldtm_lib.ledger.preview import previews
from ldtm_lib.registry.exports import UNIVERSE, active_files, certificate_path, outdated_exports
from ldtm_lib.registry.file_verdicts import FileVerdicts
from tests.integration.environment import RUN_DATE, ForecastEnvironment
from tests.integration.registry.installed_models import TICKERS, InstalledModels


@pytest.fixture
def installed(
    environment: ForecastEnvironment, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> InstalledModels:
    return InstalledModels(environment, database, tmp_path_factory.mktemp("project") / "home")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were opened, and so hashed, in this test."""
    names: list[str] = []
    original = OnnxFile.open

    def counted(path: Path, **given: str) -> OnnxFile:
        names.append(path.name)
        return original(path, **given)

    monkeypatch.setattr(OnnxFile, "open", counted)
    return names


def outdated(installed: InstalledModels) -> list[str]:
    return outdated_exports(installed.active(), installed.folder, FileVerdicts())


def test_every_active_model_and_the_universe_get_a_file_with_a_passing_certificate(installed: InstalledModels) -> None:
    assert outdated(installed) == list(TICKERS)
    report = installed.export()
    assert [each.name for each in report.exported] == [*TICKERS, "universe"]
    assert all(each.is_new and each.certificate.passed for each in report.exported)
    assert not report.refused
    names = [*installed.stems(), "universe"]
    assert installed.files() == {f"{name}.{suffix}" for name in names for suffix in ("onnx", "json")}
    assert outdated(installed) == []
    stored = read_certificate(certificate_path(installed.folder / UNIVERSE))
    assert set(stored.checkpoints) == set(TICKERS)


def test_what_is_up_to_date_is_not_made_again(installed: InstalledModels) -> None:
    installed.export()
    before = {path.name: path.stat().st_mtime_ns for path in installed.folder.iterdir()}
    assert not any(each.is_new for each in installed.export().exported)
    assert {path.name: path.stat().st_mtime_ns for path in installed.folder.iterdir()} == before


def test_a_new_version_is_exported_and_the_files_of_the_retired_one_are_removed(installed: InstalledModels) -> None:
    installed.export()
    old = installed.stems()[0]
    installed.replace("AAA", trained_on=date(2013, 1, 4), seed=7)
    own = installed.folder / "notes.json"
    own.write_text("{}")
    report = installed.export()
    assert [(each.name, each.is_new) for each in report.exported] == [("AAA", True), ("BBB", False), ("universe", True)]
    assert report.removed == (f"{old}.json", f"{old}.onnx")
    assert own.exists(), "a file of somebody else stays"


def test_a_damaged_checkpoint_is_refused_and_the_other_ticker_goes_on(installed: InstalledModels) -> None:
    [damaged, _] = active_files(installed.environment.conn)
    path = installed.project.checkpoint_folder / damaged.file_name
    path.write_bytes(path.read_bytes()[:-100])
    report = installed.export()
    assert [each.name for each in report.exported] == ["BBB", "universe"]
    assert "AAA" in report.refused
    assert "is truncated" in report.refused["AAA"]
    assert not (installed.folder / f"{Path(damaged.file_name).stem}.onnx").exists()


def test_a_ticker_without_an_active_model_or_without_bars_is_refused_by_name(installed: InstalledModels) -> None:
    installed.environment.network("CCC", seed=3)
    installed.environment.conn.commit()
    report = installed.export("AAA", "CCC", "DDD")
    assert "CCC has no window of stored bars" in report.refused["CCC"]
    assert report.without_model == ("DDD",)
    assert [each.name for each in report.exported] == ["AAA", "universe"]


def test_an_altered_file_is_made_again(installed: InstalledModels) -> None:
    installed.export()
    path = installed.folder / f"{installed.stems()[0]}.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert outdated(installed) == ["AAA"]
    assert [each.is_new for each in installed.export().exported][:2] == [True, False]


def test_previews_by_both_backends_agree_and_record_nothing(installed: InstalledModels) -> None:
    installed.export()
    by_torch, missing = previews(installed.project, installed.calendar, [*TICKERS, "DDD"], backend="torch")
    by_onnx, _ = previews(installed.project, installed.calendar, TICKERS, backend="onnx")
    assert missing == {"DDD": "has no active model"}
    assert [(each.ticker, each.run_date, each.direction) for each in by_torch] == [
        (each.ticker, RUN_DATE, each.direction) for each in by_onnx
    ]
    for one, other in zip(by_torch, by_onnx, strict=True):
        assert one.prices == pytest.approx(other.prices, rel=1e-6), "float32 sums in another order"
    assert installed.environment.conn.execute("select count(*) from snapshot").fetchone() == (0,)


def test_a_preview_by_onnx_without_an_export_says_so_for_its_ticker_alone(installed: InstalledModels) -> None:
    installed.export("AAA")
    found, missing = previews(installed.project, installed.calendar, TICKERS, backend="onnx")
    assert [each.ticker for each in found] == ["AAA"]
    assert "BBB" in missing


def test_torch_is_not_asked_to_change_its_threads(installed: InstalledModels) -> None:
    before = torch.get_num_threads()
    installed.export("AAA")
    assert torch.get_num_threads() == before


def test_a_poll_hashes_no_file_twice_until_it_or_its_certificate_changes(
    installed: InstalledModels, opened: list[str]
) -> None:
    installed.export()
    opened.clear()
    verdicts, active = FileVerdicts(), installed.active()
    names = [f"{stem}.onnx" for stem in installed.stems()]
    assert outdated_exports(active, installed.folder, verdicts) == []
    assert opened == names
    assert outdated_exports(active, installed.folder, verdicts) == []
    assert opened == names
    certificate = certificate_path(installed.folder / names[0])
    certificate.write_text(certificate.read_text())
    assert outdated_exports(active, installed.folder, verdicts) == []
    assert opened == [*names, names[0]]
    (installed.folder / names[1]).unlink()
    assert outdated_exports(active, installed.folder, verdicts) == ["BBB"]


def test_an_export_of_one_ticker_opens_each_file_once(installed: InstalledModels, opened: list[str]) -> None:
    installed.export()
    opened.clear()
    installed.export("BBB")
    assert sorted(opened) == sorted([*(f"{stem}.onnx" for stem in installed.stems()), UNIVERSE])

"""Exports of active models: an ONNX file and a certificate per version, and one file with the whole universe.

Files and their certificates name their checkpoint, so the exports to renew follow from them and the registry. An
export whose certificate fails is removed; PyTorch continues to forecast its ticker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import CertificateRefused, CheckpointRefused, ExportRefused, LdtmError
from ldtm_lib.export.certificate import Certificate, certify, require_certificate, write_certificate
from ldtm_lib.export.edge_cases import PricedWindows
from ldtm_lib.export.onnx_file import CheckpointFile, OnnxFile, export
from ldtm_lib.features.neutral_band import neutral_bands
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.checkpoint import file_of
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.project import Project
from ldtm_lib.registry.export_retention import remove_retired
from ldtm_lib.registry.file_verdicts import FileVerdicts
from ldtm_lib.sessions import Calendar

UNIVERSE_NAME = "universe"
"""Name of the file of all active models in reports, where the other names are tickers."""
UNIVERSE = f"{UNIVERSE_NAME}.onnx"
NUM_RECENT_WINDOWS = 256
"""Newest windows of a ticker that a certificate compares, in addition to the edge cases."""


class CheckpointOnRecord(Protocol):
    """Fields by which a file of an export is named and checked."""

    @property
    def ticker(self) -> str: ...  # noqa: D102
    @property
    def file_name(self) -> str: ...  # noqa: D102
    @property
    def file_sha256(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveFile:
    """The checkpoint file of an active model."""

    ticker: str
    version: str
    file_name: str
    file_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One ONNX file after an export: of a version, or of the universe."""

    name: str
    """The ticker, or `universe`."""
    path: Path
    certificate: Certificate
    is_new: bool
    """True if it was made now; False if it was up to date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """The result of an export."""

    exported: tuple[Exported, ...]
    refused: Mapping[str, str]
    """Reason why there is no file, by ticker or `universe`."""
    without_model: tuple[str, ...]
    """Tickers that were asked for and have no active model."""
    removed: tuple[str, ...]
    """Names of files of versions that are no longer active."""


def export_folder(project: Project) -> Path:
    """The folder of a project's exports."""
    return project.home / "exports"


def active_files(conn: Connection, tickers: Sequence[str] | None = None) -> list[ActiveFile]:
    """The checkpoint files of the active models, of some tickers or of all, sorted by ticker."""
    with conn.cursor(row_factory=class_row(ActiveFile)) as cursor:
        asked = {"tickers": None if tickers is None else list(tickers)}
        return cursor.execute(query("registry.active_files"), asked).fetchall()


def onnx_path(folder: Path, checkpoint: CheckpointOnRecord) -> Path:
    """The ONNX file of a version, named after the checkpoint file."""
    return folder / f"{file_of(folder, checkpoint.file_name).stem}.onnx"


def outdated_exports(active: Sequence[ActiveFile], folder: Path, verdicts: FileVerdicts) -> list[str]:
    """Tickers of active models without a passing export; a failed export stays outdated until the version changes."""
    return [each.ticker for each in active if not _is_up_to_date(folder, each, verdicts)]


def _is_up_to_date(folder: Path, active: ActiveFile, verdicts: FileVerdicts) -> bool:
    path = onnx_path(folder, active)
    files = (path, certificate_path(path))
    return verdicts.holds(files, lambda: _passes(folder, active), about=active.file_sha256)


def export_models(
    project: Project, calendar: Calendar, *, made_at: datetime, tickers: Sequence[str] | None = None
) -> ExportReport:
    """Export the outdated models of some tickers, then the universe; remove the files of models that are not active.

    One ticker that fails does not stop the others. Raises MissingExtra.
    """
    folder = export_folder(project)
    folder.mkdir(parents=True, exist_ok=True)
    with project.database.transaction() as conn:
        conn.execute(query("registry.hold_files"))  # no file that is read here is removed meanwhile
        active = active_files(conn)
        wanted = [each for each in active if tickers is None or each.ticker in tickers]
        refused: dict[str, str] = {}
        windows = RecentWindows(conn, calendar, project)
        exported: list[Exported] = []
        for each in wanted:
            _add(exported, refused, each.ticker, onnx_path(folder, each), [each], windows, project, made_at)
        made = {each.name for each in exported}
        passing = [each for each in active if each.ticker in made or (each not in wanted and _passes(folder, each))]
        if passing:
            _add(exported, refused, UNIVERSE_NAME, folder / UNIVERSE, passing, windows, project, made_at)
    return ExportReport(
        exported=tuple(exported),
        refused=refused,
        without_model=tuple(each for each in tickers or () if each not in {known.ticker for known in active}),
        removed=tuple(remove_retired(folder, _kept_stems(folder, active, has_any=bool(passing)))),
    )


class RecentWindows:
    """The newest windows of tickers, read when they are first needed and all at once."""

    def __init__(self, conn: Connection, calendar: Calendar, project: Project) -> None:
        self._conn, self._calendar, self._settings = conn, calendar, project.settings
        self._known: dict[str, PricedWindows] = {}

    def of(self, tickers: Sequence[str]) -> dict[str, PricedWindows]:
        """The windows by ticker. Raises CertificateRefused for a ticker without any."""
        missing = [ticker for ticker in tickers if ticker not in self._known]
        if missing:
            found = windows_of(current_bars(self._conn, missing), self._calendar, self._settings.window)
            for ticker in missing:
                if ticker not in found or not len(found[ticker]):
                    raise CertificateRefused(f"{ticker} has no window of stored bars; materialize price_history first")
                self._known[ticker] = self._newest(found[ticker])
        return {ticker: self._known[ticker] for ticker in tickers}

    def _newest(self, windows: WindowSet) -> PricedWindows:
        rows = np.arange(max(0, len(windows) - NUM_RECENT_WINDOWS), len(windows))
        return PricedWindows.of(windows, rows, neutral_bands(self._settings.forecast, windows.volatility(rows)))


def _add(
    exported: list[Exported],
    refused: dict[str, str],
    name: str,
    path: Path,
    members: Sequence[ActiveFile],
    windows: RecentWindows,
    project: Project,
    made_at: datetime,
) -> None:
    """Export one file unless it is up to date, and add it to `exported` or to `refused`."""
    if (certificate := _certificate_of(path, members)) is not None:
        exported.append(Exported(name=name, path=path, certificate=certificate, is_new=False))
        return
    files = checkpoint_files(project, members)
    try:
        export(files, path, project.settings.window)
        with OnnxFile.open(path) as file:
            certificate = certify(file, files, windows.of([*files]), made_at=made_at)
        write_certificate(certificate, certificate_path(path))
        if not certificate.passed:
            raise ExportRefused(failure_of(certificate, certificate_path(path)))
    except (CheckpointRefused, CertificateRefused, ExportRefused) as error:
        path.unlink(missing_ok=True)
        refused[name] = str(error)
        return
    exported.append(Exported(name=name, path=path, certificate=certificate, is_new=True))


def checkpoint_files(project: Project, members: Sequence[ActiveFile]) -> dict[str, CheckpointFile]:
    """The checkpoint files of some versions by ticker."""
    return {
        each.ticker: CheckpointFile(path=file_of(project.checkpoint_folder, each.file_name), sha256=each.file_sha256)
        for each in members
    }


def failure_of(certificate: Certificate, path: Path) -> str:
    """The first rule that a failed certificate breaks, and the file of that certificate."""
    failed = next(rule for rule in certificate.rules if not rule.holds)
    return f"{failed.sentence} ({path}); PyTorch continues to forecast"


def certificate_path(path: Path) -> Path:
    """The path of the certificate of an ONNX file, in the same folder."""
    return path.with_suffix(".json")


def certified_file(folder: Path, checkpoint: CheckpointOnRecord) -> OnnxFile:
    """The opened ONNX file of one checkpoint, whose certificate passed. Raises ExportRefused and CertificateRefused."""
    path = onnx_path(folder, checkpoint)
    file = OnnxFile.open(path)
    try:
        require_certificate(certificate_path(path), file, checkpoints={checkpoint.ticker: checkpoint.file_sha256})
    except CertificateRefused:
        file.close()
        raise
    return file


def _passes(folder: Path, active: ActiveFile) -> bool:
    return _certificate_of(onnx_path(folder, active), [active]) is not None


def _certificate_of(path: Path, members: Sequence[ActiveFile]) -> Certificate | None:
    """The certificate of a file that passed, and belongs to exactly these checkpoints; None otherwise."""
    wanted = {each.ticker: each.file_sha256 for each in members}
    try:
        with OnnxFile.open(path) as file:
            if set(file.metadata.tickers) != set(wanted):
                return None
            return require_certificate(certificate_path(path), file, checkpoints=wanted)
    except LdtmError:
        return None


def _kept_stems(folder: Path, active: Sequence[ActiveFile], *, has_any: bool) -> set[str]:
    """The stems of the files of active versions, and of the universe where there is one."""
    kept = {onnx_path(folder, each).stem for each in active}
    return kept | {Path(UNIVERSE).stem} if has_any else kept

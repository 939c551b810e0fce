"""References in the documents hold: files, anchors, make targets, commands, settings, variables, tests, identifiers."""

import inspect
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel

from ldtm_cli.main import app
from ldtm_lib.settings import Settings
from tests.repository import REPOSITORY

TOP = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
DOCUMENTS = [REPOSITORY / name for name in (*TOP, "docker/README.md")] + sorted((REPOSITORY / "docs").rglob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
EXTENSIONS = r"\.(?:py|md|toml|sql|ya?ml|txt|png|cfg)"
RUNTIME = re.compile(
    r"^(\.ldtm/|\.venv/|data/|seals/|/|~)|<|^(splits\.csv|seals\.jsonl|AAPL\.csv|brk-b\.us\.parquet|tsa\.pem)$"
)
"""Files that an installation has or makes, not the repository."""
FOREIGN = frozenset(
    [
        "ib_insync",
        "ib_async",
        "reqHistoricalData",
        "weights_only",
        "delete_run",
        "clock_nanosleep",
        "record_send",
        "ldtm_writer",
        "unix_socket_permissions",
        "max_runtime_seconds",
        "start_timeout_seconds",
        "test_a_filled_actual_is_never_overwritten",
    ]
)
"""Names of other projects, and of examples."""


def prose_of(text: str) -> str:
    """The document without fenced blocks."""
    return FENCE.sub("", text)


def spans_of(text: str) -> list[str]:
    """What stands in code font in the prose, on one line each."""
    return [" ".join(span.split()) for span in SPAN.findall(prose_of(text))]


def blocks_of(text: str, *languages: str) -> list[str]:
    return [content for language, content in FENCE.findall(text) if language in languages]


@cache
def repository_files() -> frozenset[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    if not listed:  # an unpacked archive is no git repository
        listed = [str(path.relative_to(REPOSITORY)) for path in REPOSITORY.rglob("*") if ".venv" not in path.parts]
    return frozenset(name for name in listed if (REPOSITORY / name).exists())


@cache
def source_text() -> str:
    """Everything that may define a name: sources, SQL, configuration, but no document."""
    kinds = (".py", ".sql", ".toml", ".yaml", ".yml", ".txt", "Makefile", "Dockerfile")
    own = Path(__file__).name
    files = [n for n in repository_files() if n.endswith(kinds) or n.startswith(".ci/")]
    return "\n".join((REPOSITORY / n).read_text(errors="replace") for n in sorted(files) if not n.endswith(own))


@cache
def known_words() -> frozenset[str]:
    return frozenset(re.findall(r"\w+", source_text()))


@cache
def make_targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


@cache
def settings_by_section() -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        is_section = inspect.isclass(kind) and issubclass(kind, BaseModel)
        found[name] = frozenset(kind.model_fields) if is_section else frozenset()
    return found


def anchors_of(path: Path) -> frozenset[str]:
    """GitHub's anchors of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", prose_of(path.read_text()), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


# ---- one reader per kind of reference: each yields the references that do not hold


def broken_links(path: Path, text: str) -> Iterator[str]:
    for target in LINK.findall(prose_of(text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        goal = (path.parent / name).resolve() if name else path
        if not goal.exists():
            yield f"link to {target}: no such file"
        elif anchor and goal.suffix == ".md" and anchor not in anchors_of(goal):
            yield f"link to {target}: no such heading"


def broken_files(path: Path, text: str) -> Iterator[str]:
    names = {Path(name).name for name in repository_files()}
    folders = {str(parent) for name in repository_files() for parent in Path(name).parents}
    for span in spans_of(text):
        for word in re.findall(r"[\w./-]+", span):
            if RUNTIME.search(word) or RUNTIME.search(span) or "://" in span:
                continue
            is_file = re.fullmatch(rf"[\w./-]*\w{EXTENSIONS}", word)
            if not is_file and not re.match(r"(\.ci|ldtm_lib|ldtm_assets|ldtm_cli|tests|sql|docs|benchmarks)/", word):
                continue
            wanted = word.removeprefix("./").rstrip("/")
            if wanted in repository_files() or wanted in folders or (path.parent / wanted).exists():
                continue
            if any(name.endswith(f"/{wanted}") for name in repository_files()):
                continue
            if "PACKAGE" not in span and wanted not in names:
                yield f"file {word}"


def broken_make_targets(path: Path, text: str) -> Iterator[str]:
    for span in [*spans_of(text), *(line for block in blocks_of(text, "sh") for line in block.splitlines())]:
        for target in re.findall(r"(?:^|&& )make ([a-z][a-z-]*)", span):
            if target not in make_targets():
                yield f"make {target}"


def broken_commands(path: Path, text: str) -> Iterator[str]:
    shown = [line for block in blocks_of(text, "sh", "") for line in block.splitlines()]
    for line in [*spans_of(text), *shown]:
        for called in re.findall(r"(?:^|\$ |&& |\bbin/|\()ldtm ((?:[^&|)\n])*)", line):
            if problem := problem_of_command(called):
                yield f"ldtm {called.strip()}: {problem}"
        if re.fullmatch(r"--[a-z][a-z-]*( [A-Z]+| ROLE)?", line) and line.split()[0] not in all_options():
            yield f"option {line}"


@cache
def all_options() -> frozenset[str]:
    def walk(command: Any) -> Iterator[str]:
        for parameter in command.params:
            yield from parameter.opts
            yield from parameter.secondary_opts
        for below in getattr(command, "commands", {}).values():
            yield from walk(below)

    return frozenset(walk(typer.main.get_command(app)))


def problem_of_command(called: str) -> str | None:
    """Why a line is no call of the command: an unknown sub-command or option."""
    command: Any = typer.main.get_command(app)
    options = {option for parameter in command.params for option in parameter.opts}
    words = called.partition(" #")[0].split()  # without a comment
    position = 0
    while position < len(words):
        word = words[position].rstrip(",;:.")
        if word.startswith("-"):
            name = word.partition("=")[0]
            known = options | {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
            if name not in known:
                return f"no option {name}"
            if name in ("--config", "-c"):
                position += 1
        elif below := getattr(command, "commands", {}):
            if word not in below:
                return f"no sub-command {word}"
            command = below[word]
        position += 1
    return None


def broken_settings(path: Path, text: str) -> Iterator[str]:
    sections = settings_by_section()
    prose = prose_of(text)
    for section, key in re.findall(r"`\[([a-z_]+)\](?: ([a-z_]+))?[^`]*`", prose):
        if section not in sections or (key and key not in sections[section]):
            yield f"setting [{section}] {key}"
    for span in spans_of(text):
        found = re.fullmatch(r"([a-z]+)\.([a-z_]+)", span)
        if not found or found[2] in ("py", "md") or not sections.get(found[1]):
            continue
        if found[2] not in sections[found[1]]:
            yield f"setting {span}"
    for block in blocks_of(text, "toml"):
        for section, values in tomllib.loads(block).items():
            fields = sections.get(section)  # none of a table by ticker, such as [symbols]
            unknown = set(values) - fields if fields and isinstance(values, dict) else set()
            if section not in sections or unknown:
                yield f"setting [{section}] {sorted(unknown)}"


def broken_variables(path: Path, text: str) -> Iterator[str]:
    for name in re.findall(r"\bLDTM_[A-Z_]+\b", text):
        if name not in known_words():
            yield f"environment variable {name}"


def broken_names(path: Path, text: str) -> Iterator[str]:
    """Identifiers in code font: tests, functions, tables, sensors, columns, modules."""
    for span in spans_of(text):
        for module in re.findall(r"\bldtm_(?:lib|assets|cli)(?:\.\w+)+", span):
            parts = module.split(".")
            while parts and not (
                (folder := REPOSITORY.joinpath(*parts)).is_dir() or folder.with_suffix(".py").exists()
            ):
                parts.pop()
            rest = module.split(".")[len(parts) :]
            if not parts or len(rest) > 1 or any(name not in known_words() for name in rest):
                yield f"module {module}"
        if "/" in span or "://" in span or span.startswith("select") or re.search(EXTENSIONS, span):
            continue
        for name in re.findall(
            r"(?<![\w.-])[a-z]+(?:_[a-z0-9]+)+(?![\w-])|(?<![\w.])[A-Z][a-z]+(?:[A-Z][a-z]+)+\b", span
        ):
            if name not in known_words() and name not in FOREIGN and name not in file_stems():
                yield f"name {name}"


@cache
def file_stems() -> frozenset[str]:
    return frozenset(Path(name).stem for name in repository_files())


READERS: list[Callable[[Path, str], Iterator[str]]] = [
    broken_links,
    broken_files,
    broken_make_targets,
    broken_commands,
    broken_settings,
    broken_variables,
    broken_names,
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_reference_of_a_document_holds(path: Path) -> None:
    text = path.read_text()
    assert [f"{path.name}: {problem}" for reader in READERS for problem in reader(path, text)] == []


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (broken_links, "see [there](docs/nowhere.md)"),
        (broken_links, "see [there](ARCHITECTURE.md#no-such-heading)"),
        (broken_files, "held by `tests/unit/gate/test_nothing.py`"),
        (broken_files, "held by `test_nothing_at_all.py`"),
        (broken_files, "in `ldtm_lib/rooms/`"),
        (broken_make_targets, "run `make fortnight`"),
        (broken_make_targets, "```sh\nmake everything\n```"),
        (broken_commands, "run `ldtm everything`"),
        (broken_commands, "run `ldtm audit everything`"),
        (broken_commands, "run `ldtm leaderboard --everything`"),
        (broken_commands, "take `--everything`"),
        (broken_settings, "set `[pagination] host`"),
        (broken_settings, "set `[gate] looseness = 1`"),
        (broken_settings, "set `gate.looseness`"),
        (broken_settings, "```toml\n[gate]\nlooseness = 1\n```"),
        (broken_variables, "set LDTM_NO_SUCH_VARIABLE"),
        (broken_names, "held by `test_that_nobody_has_written`"),
        (broken_names, "the `evening_errand_sensor`"),
        (broken_names, "in `ldtm_lib.rooms.floor`"),
    ],
)
def test_a_broken_reference_is_found(reader: Callable[[Path, str], Iterator[str]], text: str) -> None:
    assert len(list(reader(REPOSITORY / "README.md", text))) == 1


def test_every_decision_is_in_the_index_and_has_its_sections() -> None:
    folder = REPOSITORY / "docs" / "decisions"
    files = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert re.findall(r"\((\d{4}-[a-z0-9-]+\.md)\)", (folder / "README.md").read_text()) == files
    for name in files:
        sections = re.findall(r"^## (.+)$", (folder / name).read_text(), re.MULTILINE)
        assert sections == ["Context", "Decision", "Alternatives", "Consequences", "Evidence"], name


def test_architecture_keeps_to_200_lines() -> None:
    assert len((REPOSITORY / "ARCHITECTURE.md").read_text().splitlines()) <= 200

"""A proof is checked by one file with nothing else at hand, and by that file alone."""

import ast
import hashlib
import json
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.audit.merkle import audit_path, merkle_root
from ldtm_lib.audit.proof import prove
from ldtm_lib.errors import NotProvable
from tests.integration.audit.sealed_record import DAYS, Record
from tests.integration.audit.verifier import PROGRAM, verifier


@pytest.fixture
def document(record: Record) -> dict[str, Any]:
    return prove(record.conn, "IBM", DAYS[1]).document


def _run(folder: Path, *words: str, program: Path = PROGRAM) -> tuple[int, str]:
    """The verifier in an empty folder, without any package of this project within reach."""
    done = subprocess.run([sys.executable, "-I", "-S", program, *words], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_verifier_is_one_short_file_of_the_standard_library() -> None:
    text = PROGRAM.read_text()
    assert len(text.splitlines()) < 250
    imported = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imported <= sys.stdlib_module_names


def test_a_proof_holds_the_forecast_and_what_became_of_it_and_is_checked_alone(
    record: Record, document: dict[str, Any], tmp_path: Path
) -> None:
    says = [event["says"] for event in document["events"]]
    assert [(s["event"], s.get("horizon")) for s in says] == [
        ("forecast", None),
        ("fill", "next_day"),
        ("fill", "next_monday"),
    ]
    (tmp_path / "p.json").write_text(json.dumps(document))
    alone = tmp_path / "verify_proof.py"
    alone.write_bytes(PROGRAM.read_bytes())
    status, text = _run(tmp_path, "p.json", "--seals", str(record.file.path), program=alone)
    assert status == 0, text
    assert text.startswith("PROVEN: IBM on 2013-01-03 (events: 3, seals: 3)\n")
    assert "next_day_pred 102.3" in text
    assert "its first target is the session of 2013-01-04; it was sealed at 20" in text
    hashes = [word for seal in document["seals"] for word in ("--sha256", seal["sha256"])]
    assert _run(tmp_path, "p.json", *hashes)[0] == 0
    status, text = _run(tmp_path, "p.json", *hashes[:-2])
    assert status == 1
    assert text.endswith(f"has the SHA-256 {hashes[-1]}, which you did not name\n")


def test_the_row_of_a_simulation_has_a_proof_of_its_own_that_says_which_one_it_is(
    record: Record, tmp_path: Path
) -> None:
    record.rows.forecast("IBM", DAYS[1], preds=(99, 99, 99), direction="bearish")
    with pytest.raises(NotProvable, match="the forecast of IBM on 2013-01-03 by simulation 1 is not sealed yet"):
        prove(record.conn, "IBM", DAYS[1], 1)
    record.seal()
    simulated, daily = (prove(record.conn, "IBM", DAYS[1], number).document for number in (1, 0))
    assert [event["says"]["kind"] for event in (simulated["events"][0], daily["events"][0])] == ["simulated", "late"]
    (tmp_path / "p.json").write_text(json.dumps(simulated))
    status, text = _run(tmp_path, "p.json", "--seals", str(record.file.path))
    assert status == 0, text
    assert text.startswith("PROVEN: IBM on 2013-01-03 by simulation 1 (events: 1, seals: 1)\n")
    with pytest.raises(verifier.NotProven, match="is not about IBM on 2013-01-03"):
        verifier.check({**simulated, "simulation_id": 0})
    with pytest.raises(NotProvable, match="there is no forecast of IBM on 2013-01-03 by simulation 2 in the record"):
        prove(record.conn, "IBM", DAYS[1], 2)


def test_anything_altered_in_a_proof_is_not_proven(document: dict[str, Any]) -> None:
    """Every single value of the document, one after the other."""
    assert _is_proven(document)
    alterations = _alterations(document)
    assert [place for place, altered in alterations if _is_proven(altered)] == []
    assert len(alterations) > 80


def _is_proven(document: dict[str, Any]) -> bool:
    try:
        return bool(verifier.check(document))
    except (verifier.NotProven, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return False


def _alterations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []

    def walk(node: Any, path: list[Any]) -> None:
        if isinstance(node, dict):
            for key in node:
                walk(node[key], [*path, key])
        elif isinstance(node, list):
            for at in range(len(node)):
                walk(node[at], [*path, at])
        else:
            copy = json.loads(json.dumps(document))
            target = copy
            for step in path[:-1]:
                target = target[step]
            target[path[-1]] = _other(node)
            found.append(("/".join(map(str, path)), copy))

    walk(document, [])
    return found


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 1.5 + 1e-9
        case str() if len(value) == 64:
            return value[:-1] + ("0" if value[-1] != "0" else "1")
        case str() if value[:2] == "20" and len(value) == 10:
            return "2013-01-31"
        case str() if value[:2] == "20":
            return value.replace("T", "T0", 1).replace("T0", "T", 1)[:-7] + (
                "1+00:00" if value[-7] != "1" else "2+00:00"
            )
        case str():
            return value + "x"
        case _:
            return "something"


def test_a_genuine_seal_that_no_event_leads_to_lends_nothing(document: dict[str, Any]) -> None:
    forged = json.loads(json.dumps(document))
    forged["events"] = forged["events"][:1]
    with pytest.raises(verifier.NotProven, match="the proof has a seal that no event leads to"):
        verifier.check(forged)


def test_a_published_number_with_two_hashes_proves_neither(
    record: Record, document: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "p.json").write_text(json.dumps(document))
    number = document["seals"][0]["seal_id"]
    with record.file.path.open("a") as file:
        file.write(json.dumps({"seal_id": number, "sha256": "ab" * 32}) + "\n")
    status, text = _run(tmp_path, "p.json", "--seals", str(record.file.path))
    assert status == 1
    assert f"seal {number} is published as {'ab' * 32} and " in text or f" and {'ab' * 32} in" in text


@pytest.mark.parametrize(("name", "value"), [("run_date_close", "1.0"), ("checkpoint_id", True), ("event_id", 1.0)])
def test_a_value_of_another_json_type_is_not_proven(document: dict[str, Any], name: str, value: object) -> None:
    document["events"][0]["says"][name] = value
    with pytest.raises(verifier.NotProven, match="is not of the type "):
        verifier.check(document)


@given(digits=st.integers(1, 10**6))
def test_a_value_that_is_not_proven_cannot_ride_along(digits: int) -> None:
    says = dict.fromkeys((field.split(":")[0] for field in verifier.FIELDS["fill"].split()), None)
    with pytest.raises(verifier.NotProven, match="the proof says more than it proves"):
        verifier.encode("fill", {**says, "profit": digits}, "LDTM proof 2")


def test_a_seal_that_was_not_published_is_not_proven(record: Record, document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(document))
    elsewhere = tmp_path / "seals.jsonl"
    elsewhere.write_text(record.file.path.read_text().splitlines(keepends=True)[0])
    status, text = _run(tmp_path, "p.json", "--seals", str(elsewhere))
    assert status == 1
    assert "is published as nothing in" in text


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", "[" * 100_000, '{"format": "LDTM proof 1"}', '{"format": "other", "seals": []}']
)
def test_what_is_no_proof_is_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / "p.json").write_text(content)
    status, text = _run(tmp_path, "p.json")
    assert status in (1, 2)
    assert "Traceback" not in text
    assert _run(tmp_path, "absent.json")[0] == 2


def test_what_cannot_be_proven_is_refused_with_the_reason(record: Record) -> None:
    with pytest.raises(NotProvable, match="there is no forecast of IBM on 2013-02-01 in the record"):
        prove(record.conn, "IBM", date(2013, 2, 1))
    record.rows.forecast("IBM", date(2013, 1, 8), kind="late")
    with pytest.raises(NotProvable, match="is not sealed yet"):
        prove(record.conn, "IBM", date(2013, 1, 8))
    record.conn.commit()
    with record.as_owner() as owner:
        owner.execute("update snapshot set next_day_pred = 9 where ticker = 'IBM' and run_date = '2013-01-03'")
    with pytest.raises(NotProvable, match="the forecast of IBM on 2013-01-03 differs from what was recorded"):
        prove(record.conn, "IBM", DAYS[1])


def _resealed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with one seal over its events as they are now, as an owner could have made it."""
    first = document["events"][0]["says"]["event_id"]
    for at, event in enumerate(document["events"]):
        event["says"]["event_id"] = first + at
    leaves = [
        hashlib.sha256(b"\0" + verifier.encode(e["says"]["event"], e["says"], document["format"])).digest()
        for e in document["events"]
    ]
    seal = {
        **document["seals"][0],
        "first_event": first,
        "num_events": len(leaves),
        "merkle_root": merkle_root(leaves).hex(),
    }
    seal["sha256"] = hashlib.sha256(verifier.encode("seal", seal, document["format"])).hexdigest()
    events = [
        {"says": event["says"], "seal": seal["seal_id"], "path": [step.hex() for step in audit_path(leaves, at)]}
        for at, event in enumerate(document["events"])
    ]
    return {**document, "events": events, "seals": [seal]}


def test_a_record_of_which_everything_fits_is_proven(document: dict[str, Any]) -> None:
    assert _is_proven(_resealed(document))


@pytest.mark.parametrize(
    ("at", "figures", "message"),
    [
        (1, {"pct_error": 0.01}, "says pct_error 0.01, but its prices give "),
        (1, {"direction_actual": "bearish", "direction_correct": False}, "says direction_actual 'bearish'"),
        (1, {"direction_correct": False}, "says direction_correct False, but its prices give True"),
        (2, {"direction_actual": "bullish"}, "says direction_actual 'bullish', but its prices give None"),
        (1, {"target_session": "2013-01-07"}, "is not of a horizon and target session of its forecast"),
        (0, {"neutral_band": 0.5}, "says direction_pred 'bullish', but its prices give 'neutral'"),
        (
            0,
            {"neutral_band": 0.0, "next_day_pred": 1.0},
            "says direction_pred 'bullish', but its prices give 'bearish'",
        ),
    ],
)
def test_figures_that_do_not_follow_from_the_prices_are_not_proven_though_all_hashes_fit(
    document: dict[str, Any], at: int, figures: dict[str, Any], message: str
) -> None:
    document["events"][at]["says"] |= figures
    with pytest.raises(verifier.NotProven, match=re.escape(message)):
        verifier.check(_resealed(document))


def test_an_outcome_stands_in_a_proof_once(document: dict[str, Any]) -> None:
    document["events"].append(json.loads(json.dumps(document["events"][1])))
    with pytest.raises(verifier.NotProven, match="is in the proof twice, or beside another outcome of its horizon"):
        verifier.check(_resealed(document))


@pytest.mark.parametrize(
    "extra",
    [lambda d: d.update(note="x"), lambda d: d["events"][0].update(note="x"), lambda d: d["seals"][0].update(n=1)],
)
def test_what_the_format_does_not_have_is_refused(
    document: dict[str, Any], extra: Callable[[dict[str, Any]], None]
) -> None:
    extra(document)
    with pytest.raises(verifier.NotProven, match=r"has other fields than|says more than it proves"):
        verifier.check(document)


def test_a_key_that_stands_twice_is_no_proof(document: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps(document)
    (tmp_path / "p.json").write_text(text.replace('"next_day_pred"', '"next_day_pred": 1.0, "next_day_pred"', 1))
    status, shown = _run(tmp_path, "p.json")
    assert status == 2
    assert "is not a proof that this program can read" in shown


@pytest.mark.parametrize("option", ["--seals", "--sha256"])
def test_an_empty_name_proves_nothing(document: dict[str, Any], tmp_path: Path, option: str) -> None:
    (tmp_path / "p.json").write_text(json.dumps(document))
    status, _ = _run(tmp_path, "p.json", option, "")
    assert status in (1, 2)


def test_texts_of_a_proof_cannot_steer_a_terminal_or_end_in_a_traceback(
    document: dict[str, Any], tmp_path: Path
) -> None:
    ticker = "I\x1b[2JM\u202e\N{GREEK SMALL LETTER ALPHA}"
    document["ticker"] = ticker
    for event in document["events"]:
        event["says"]["ticker"] = ticker
    (tmp_path / "p.json").write_text(json.dumps(_resealed(document)))
    status, shown = _run(tmp_path, "p.json")
    assert (status, shown.isascii(), "\x1b" in shown) == (0, True, False)
    assert shown.startswith("PROVEN: I\\x1b[2JM\\u202e\\u03b1 on 2013-01-03")


def test_a_horizon_without_outcome_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(document))
    _, shown = _run(tmp_path, "p.json")
    assert "\nno outcome of one_month, 2013-02-04: none was sealed yet, or it was left out\n" in shown
    assert "no outcome of next_day" not in shown

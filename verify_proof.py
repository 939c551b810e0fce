#!/usr/bin/env python3
"""Check a proof that a forecast is in the record of an LDTM installation. Needs Python 3.9 or newer and nothing else.

    python verify_proof.py proof.json                                what it proves, and the SHA-256 to look for
    python verify_proof.py proof.json --seals seals.jsonl            ... and whether that file published it
    python verify_proof.py proof.json --sha256 HEX --sha256 HEX      ... and whether its seals are these

A proof contains events (a forecast, its fills, ...) in readable form, their audit paths to the Merkle roots (RFC 6962)
of seals, and these seals (docs/record-format.md). They are encoded and hashed again and must give a seal's SHA-256.
A hash is worth as much as its source: a file or repository that the owner cannot rewrite, a time stamp, your own note.

Exit status 0: proven (and found where you asked to look). 1: not proven. 2: the file or the command is not understood.
"""

import argparse
import hashlib
import json
import struct
import sys
from datetime import date, datetime, timezone

OIDS = {"int8": 20, "text": 25, "utf8": 17, "date": 1082, "timestamptz": 1184, "float8": 701, "bool": 16, "bytea": 17}
HEAD = "event_id:int8 event:text ticker:text "
HORIZON = "run_date:date simulation_id:int8 horizon:text target_session:date "
HORIZONS = ("next_day", "next_monday", "one_month")
INTERVALS = " ".join(f"{name}_low_{level}:float8 {name}_high_{level}:float8" for name in HORIZONS for level in (80, 95))
FIELDS = {
    "forecast": HEAD + "run_date:date simulation_id:int8 recorded_at:timestamptz kind:text next_day_session:date "
    "next_monday_session:date one_month_session:date run_date_close:float8 next_day_pred:float8 "
    "next_monday_pred:float8 one_month_pred:float8 direction_pred:text abstained_reason:utf8 checkpoint_id:int8 "
    "model_version:text model_status:text checkpoint_sha256:text window_sha256:text bars_recorded_until:timestamptz",
    "fill": HEAD + HORIZON + "actual:float8 pct_error:float8 direction_actual:text direction_correct:bool "
    "filled_at:timestamptz",
    "void": HEAD + HORIZON + "reason:utf8 wait_sessions:int8 voided_at:timestamptz",
    "restatement": HEAD + HORIZON + "bar_recorded_at:timestamptz actual:float8 restated_actual:float8 "
    "detected_at:timestamptz",
    "configuration": HEAD + "configuration_id:int8 installation_id:text tickers:text retired:utf8 "
    "settings_sha256:text recorded_at:timestamptz",
    "seal": "seal_id:int8 session:date first_event:int8 num_events:int8 merkle_root:bytea previous_sha256:bytea "
    "sealed_at:timestamptz",
}
FORECASTS = {"LDTM proof 1": FIELDS["forecast"]}  # by the format, whose number is the version of the proof's forecast
FORECASTS["LDTM proof 2"] = f"{FORECASTS['LDTM proof 1']} volatility:float8 neutral_band:float8 {INTERVALS}"
FORECASTS["LDTM proof 3"] = f"{FORECASTS['LDTM proof 2']} backend:text"


class NotProven(Exception):
    """The proof does not hold; the message says where."""


def microseconds(text):
    """A moment as PostgreSQL counts it: microseconds since 2000-01-01 00:00 UTC."""
    since = datetime.fromisoformat(text) - datetime(2000, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 older Pythons have no other
    return (since.days * 86400 + since.seconds) * 1000000 + since.microseconds


TYPES = {"int8": int, "float8": float, "bool": bool}  # of JSON; every other type is a text there
ENCODERS = {  # the bytes of a value as PostgreSQL sends it
    "int8": lambda value: struct.pack(">q", value),
    "text": str.encode,
    "utf8": str.encode,
    "date": lambda value: struct.pack(">i", (date.fromisoformat(value) - date(2000, 1, 1)).days),
    "timestamptz": lambda value: struct.pack(">q", microseconds(value)),
    "float8": lambda value: struct.pack(">d", value),
    "bool": lambda value: b"\x01" if value else b"\x00",
    "bytea": bytes.fromhex,
}


def encode(kind, values, proof_format):
    """The canonical bytes of an event or a seal: the number of fields, then type, length and value of each."""
    named = FORECASTS[proof_format] if kind == "forecast" else FIELDS[kind]
    fields = [field.split(":") for field in named.split()]
    if extra := set(values) - {name for name, _ in fields} - ({"sha256"} if kind == "seal" else set()):
        raise NotProven(f"a {kind} has no {sorted(extra)[0]}: the proof says more than it proves")
    parts = [struct.pack(">i", len(fields))]
    for name, of_type in fields:
        value = values[name]
        if value is not None and type(value) is not TYPES.get(of_type, str):
            raise NotProven(f"{value!r} is not of the type {of_type}")
        encoded = None if value is None else ENCODERS[of_type](value)
        parts.append(struct.pack(">Ii", OIDS[of_type], -1 if encoded is None else len(encoded)) + (encoded or b""))
    return b"".join(parts)


def root_from(leaf, index, size, path):
    """The Merkle root that a leaf and its path lead to (RFC 9162, section 2.1.3.2)."""
    at, last, node = index, size - 1, leaf
    if not 0 <= index < size:
        raise NotProven(f"event {index} is not among the {size} of its seal")
    for step in path:
        if last == 0:
            raise NotProven("the path is longer than the tree is high")
        if at % 2 or at == last:
            node = hashlib.sha256(b"\x01" + step + node).digest()
            while at % 2 == 0 and at:
                at, last = at // 2, last // 2
        else:
            node = hashlib.sha256(b"\x01" + node + step).digest()
        at, last = at // 2, last // 2
    if last:
        raise NotProven("the path is shorter than the tree is high")
    return node


def require_keys(what, found, *expected):
    """Refuse a part of a proof that has more or fewer fields than the format."""
    if not isinstance(found, dict) or set(found) != set(expected):
        raise NotProven(f"{what} has other fields than {', '.join(expected)}")


def check(proof):
    """The seals that the events of a proof lead to, by number; raises NotProven."""
    if proof["format"] not in FORECASTS:
        raise NotProven(f"the format is {proof['format']!r}; this program knows {', '.join(map(repr, FORECASTS))}")
    require_keys("the proof", proof, "format", "ticker", "run_date", "simulation_id", "events", "seals")
    seals = {}
    for seal in proof["seals"]:
        sha256 = hashlib.sha256(encode("seal", seal, proof["format"])).hexdigest()
        if sha256 != seal["sha256"]:
            raise NotProven(f"seal {seal['seal_id']} has the SHA-256 {sha256}, not {seal['sha256']}")
        if seals.setdefault(seal["seal_id"], seal) is not seal:
            raise NotProven(f"seal {seal['seal_id']} is in the proof twice")
    if not proof["events"] or proof["events"][0]["says"]["event"] != "forecast":
        raise NotProven("the proof holds no forecast")
    forecast, about = proof["events"][0]["says"], set()
    for event in proof["events"]:
        require_keys("an event", event, "says", "seal", "path")
        says, seal = event["says"], seals[event["seal"]]
        name = f"the {says['event']} with number {says['event_id']}"
        if says["event"] == "configuration":
            if proof["ticker"] not in says["tickers"].split(",") or says["event_id"] > forecast["event_id"]:
                raise NotProven(f"{name} is not the universe of {proof['ticker']} at that time")
        elif any(says[field] != proof[field] for field in ("ticker", "run_date", "simulation_id")):
            raise NotProven(f"{name} is not about {proof['ticker']} on {proof['run_date']}")
        leaf = hashlib.sha256(b"\x00" + encode(says["event"], says, proof["format"])).digest()
        path = [bytes.fromhex(step) for step in event["path"]]
        root = root_from(leaf, says["event_id"] - seal["first_event"], seal["num_events"], path)
        if root.hex() != seal["merkle_root"]:
            raise NotProven(f"{name} is not the one that seal {seal['seal_id']} covers")
        # a horizon has one outcome, a fill or a void; restatements may follow, each of another bar
        kind = "outcome" if says["event"] in ("fill", "void") else says["event"]
        if (subject := (kind, says.get("horizon"), says.get("bar_recorded_at"))) in about:
            raise NotProven(f"{name} is in the proof twice, or beside another outcome of its horizon")
        about.add(subject)
        check_figures(forecast, says, name)
    if set(seals) != {event["seal"] for event in proof["events"]}:
        raise NotProven("the proof has a seal that no event leads to")
    return seals


def direction(price, close, unchanged):
    """The direction from a close to a price, with the largest move that counts as none."""
    return "neutral" if abs(price - close) <= unchanged else "bullish" if price > close else "bearish"


def check_figures(forecast, says, name):
    """Compute directions and errors again from the prices of the forecast and the actual; raises NotProven."""
    close, claimed, figures = forecast["run_date_close"], forecast["direction_pred"], {}
    if says["event"] == "forecast" and claimed is not None and forecast.get("neutral_band") is not None:
        figures["direction_pred"] = direction(forecast["next_day_pred"] / close - 1, 0.0, forecast["neutral_band"])
    if says["event"] not in ("forecast", "configuration"):
        horizon = says["horizon"]
        if horizon not in HORIZONS or says["target_session"] != forecast[f"{horizon}_session"]:
            raise NotProven(f"{name} is not of a horizon and target session of its forecast")
    if says["event"] == "fill":
        actual = says["actual"]
        came = direction(actual, close, 1e-9 * close) if horizon == "next_day" else None
        figures["pct_error"] = (forecast[f"{horizon}_pred"] - actual) / actual * 100
        figures["direction_actual"] = came
        figures["direction_correct"] = None if came is None or claimed == "neutral" else claimed == came
    for figure, value in figures.items():
        if says[figure] != value:
            raise NotProven(f"{name} says {figure} {says[figure]!r}, but its prices give {value!r}")


def look_up(seals, file):
    """Check that a published file of seals holds every one of some seals; raises NotProven."""
    published = {}
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            try:
                seal = json.loads(line)
                published.setdefault(seal["seal_id"], set()).add(seal["sha256"])
            except (ValueError, KeyError, TypeError):
                continue  # a line that was cut by a crash
    for number, seal in seals.items():
        found = published.get(number, set())
        if found != {seal["sha256"]}:
            raise NotProven(f"seal {number} is published as {' and '.join(sorted(found)) or 'nothing'} in {file}")


def show(line):
    """Print a line in ASCII: a text of the proof must not steer the terminal."""
    print(ascii(line)[1:-1].replace("\\'", "'"))


def without_repetition(pairs):
    """The object of some JSON pairs; refuses a key that occurs twice."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def main(arguments):
    """Check a proof and say what it proves; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("proof", help="the JSON file that `ldtm audit prove` wrote; - reads standard input")
    parser.add_argument("--seals", help="a published file of seals, one JSON object per line")
    parser.add_argument("--sha256", action="append", help="a seal's SHA-256 that you have from elsewhere; repeatable")
    asked = parser.parse_args(arguments)
    try:
        with sys.stdin if asked.proof == "-" else open(asked.proof, encoding="utf-8") as file:
            proof = json.load(file, object_pairs_hook=without_repetition)
        seals = check(proof)
        if asked.seals is not None:
            look_up(seals, asked.seals)
        known = {given.lower() for given in asked.sha256 or []}
        others = [number for number, seal in seals.items() if known and seal["sha256"] not in known]
        if others:
            raise NotProven(f"seal {others[0]} has the SHA-256 {seals[others[0]]['sha256']}, which you did not name")
    except NotProven as reason:
        show(f"NOT PROVEN: {reason}")
        return 1
    except OSError as error:
        print(f"{error.filename} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        print(f"{asked.proof} is not a proof that this program can read: {type(error).__name__}", file=sys.stderr)
        return 2
    by = f" by simulation {proof['simulation_id']}" if proof["simulation_id"] else ""
    show(f"PROVEN: {proof['ticker']} on {proof['run_date']}{by} (events: {len(proof['events'])}, seals: {len(seals)})")
    for event in proof["events"]:
        named = [(name, value) for name, value in event["says"].items() if value is not None and name != "ticker"]
        show(f"  {named[1][1]}: " + ", ".join(f"{name} {value!r}" for name, value in named if name != "event"))
    says, seal = proof["events"][0]["says"], seals[proof["events"][0]["seal"]]
    show(f"its first target is the session of {says['next_day_session']}; it was sealed at {seal['sealed_at']}")
    ended = {event["says"].get("horizon") for event in proof["events"]}
    for horizon in HORIZONS if says["abstained_reason"] is None else ():
        if horizon not in ended:
            show(f"no outcome of {horizon}, {says[horizon + '_session']}: none was sealed yet, or it was left out")
    where = f"published in {asked.seals}" if asked.seals is not None else "look for it where the seals are published"
    for number, seal in sorted(seals.items()):
        show(f"seal {number} of {seal['session']}, closed {seal['sealed_at']}: {seal['sha256']} ({where})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

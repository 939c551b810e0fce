#!/usr/bin/env python3
"""Check a proof that a forecast is in the record of an LDTM installation. Needs Python 3.9 or newer and nothing else.

    python verify_proof.py proof.json                                what it proves, and the SHA-256 to look for
    python verify_proof.py proof.json --seals seals.jsonl            ... and whether that file published it
    python verify_proof.py proof.json --sha256 HEX --sha256 HEX      ... and whether its seals are these

A proof contains events (a forecast, its fills, ...) in readable form, the audit path of each event to the Merkle root
(RFC 6962) of its seal, and these seals. The events are encoded and hashed again here; the result must be the SHA-256 of
a seal. That hash is worth as much as its source: a file or repository that the owner cannot rewrite, a time stamp of a
third party, a note of your own. docs/record-format.md has the details.

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
    "seal": "seal_id:int8 session:date first_event:int8 num_events:int8 merkle_root:bytea previous_sha256:bytea "
    "sealed_at:timestamptz",
}
FORECASTS = {  # by the format of the proof, whose number is the version of its forecast
    "LDTM proof 1": FIELDS["forecast"],
    "LDTM proof 2": f"{FIELDS['forecast']} volatility:float8 neutral_band:float8 {INTERVALS}",
}


class NotProven(Exception):
    """The proof does not hold; the message says where."""


TYPES = {"int8": int, "float8": float, "bool": bool}  # of JSON; every other type is a text there


def encode_value(of_type, value):
    """The bytes of a value as PostgreSQL sends it."""
    if type(value) is not TYPES.get(of_type, str):
        raise NotProven(f"{value!r} is no {of_type}")
    if of_type == "int8":
        return struct.pack(">q", value)
    if of_type in ("text", "utf8"):
        return value.encode()
    if of_type == "date":
        return struct.pack(">i", (date.fromisoformat(value) - date(2000, 1, 1)).days)
    if of_type == "timestamptz":
        since = datetime.fromisoformat(value) - datetime(2000, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 older Pythons have no other
        return struct.pack(">q", (since.days * 86400 + since.seconds) * 1000000 + since.microseconds)
    if of_type == "float8":
        return struct.pack(">d", value)
    if of_type == "bool":
        return b"\x01" if value else b"\x00"
    return bytes.fromhex(value)


def encode(kind, values, proof_format):
    """The canonical bytes of an event or a seal: the number of fields, then type, length and value of each."""
    named = FORECASTS[proof_format] if kind == "forecast" else FIELDS[kind]
    fields = [field.split(":") for field in named.split()]
    extra = set(values) - {name for name, _ in fields} - ({"sha256"} if kind == "seal" else set())
    if extra:
        raise NotProven(f"a {kind} has no {sorted(extra)[0]}: the proof says more than it proves")
    parts = [struct.pack(">i", len(fields))]
    for name, of_type in fields:
        value = values[name]
        encoded = None if value is None else encode_value(of_type, value)
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


def check(proof):
    """The seals that the events of a proof lead to, by number; raises NotProven."""
    if proof["format"] not in FORECASTS:
        raise NotProven(f"the format is {proof['format']!r}; this program knows {' and '.join(map(repr, FORECASTS))}")
    seals = {seal["seal_id"]: seal for seal in proof["seals"]}
    for seal in seals.values():
        sha256 = hashlib.sha256(encode("seal", seal, proof["format"])).hexdigest()
        if sha256 != seal["sha256"]:
            raise NotProven(f"seal {seal['seal_id']} has the SHA-256 {sha256}, not {seal['sha256']}")
    if not proof["events"] or proof["events"][0]["says"]["event"] != "forecast":
        raise NotProven("the proof holds no forecast")
    for event in proof["events"]:
        says, seal = event["says"], seals[event["seal"]]
        name = f"the {says['event']} with number {says['event_id']}"
        about = "ticker", "run_date", "simulation_id"
        if [says[field] for field in about] != [proof[field] for field in about]:
            raise NotProven(f"{name} is not about {proof['ticker']} on {proof['run_date']}")
        leaf = hashlib.sha256(b"\x00" + encode(says["event"], says, proof["format"])).digest()
        path = [bytes.fromhex(step) for step in event["path"]]
        root = root_from(leaf, says["event_id"] - seal["first_event"], seal["num_events"], path)
        if root.hex() != seal["merkle_root"]:
            raise NotProven(f"{name} is not the one that seal {seal['seal_id']} was made over")
    if set(seals) != {event["seal"] for event in proof["events"]}:
        raise NotProven("a seal is there that no event leads to")
    return seals


def look_up(seals, file):
    """Whether a published file of seals holds every one of some seals; raises NotProven."""
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


def describe(says):
    """One event in a line."""
    shown = [
        f"{name} {value!r}" for name, value in says.items() if value is not None and name not in ("event", "ticker")
    ]
    return f"  {says['event']}: " + ", ".join(shown)


def main(arguments):
    """Check a proof and say what it proves; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("proof", help="the JSON file that `ldtm audit prove` wrote; - reads standard input")
    parser.add_argument("--seals", help="a published file of seals, one JSON object a line")
    parser.add_argument("--sha256", action="append", help="a seal's SHA-256 that you have from elsewhere; once a seal")
    asked = parser.parse_args(arguments)
    try:
        with sys.stdin if asked.proof == "-" else open(asked.proof, encoding="utf-8") as file:
            proof = json.load(file)
        seals = check(proof)
        if asked.seals:
            look_up(seals, asked.seals)
        known = {given.lower() for given in asked.sha256 or []}
        others = [number for number, seal in seals.items() if known and seal["sha256"] not in known]
        if others:
            raise NotProven(f"seal {others[0]} has the SHA-256 {seals[others[0]]['sha256']}, which you did not name")
    except NotProven as reason:
        print(f"NOT PROVEN: {ascii(str(reason))[1:-1]}")
        return 1
    except OSError as error:
        print(f"{error.filename} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        print(f"{asked.proof} is no proof that this program understands: {type(error).__name__}", file=sys.stderr)
        return 2
    by = f" by simulation {proof['simulation_id']}" if proof["simulation_id"] else ""
    print(f"PROVEN: {proof['ticker']} on {proof['run_date']}{by}, {len(proof['events'])} events in {len(seals)} seals")
    for event in proof["events"]:
        print(describe(event["says"]))
    says, seal = proof["events"][0]["says"], seals[proof["events"][0]["seal"]]
    print(f"its first target is the session of {says['next_day_session']}; it was sealed at {seal['sealed_at']}")
    where = f"published in {asked.seals}" if asked.seals else "look for it where the seals are published"
    for number, seal in sorted(seals.items()):
        print(f"seal {number} of {seal['session']}, closed {seal['sealed_at']}: {seal['sha256']} ({where})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

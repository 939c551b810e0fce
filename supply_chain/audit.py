"""Compare the pins of constraints.txt with a database of known vulnerabilities, without the network.

The database is what https://osv.dev publishes for PyPI: `all.zip`, or a JSON file with one record or a list of records
(https://ossf.github.io/osv-schema). Exit status 1 names vulnerable pins, 2 an unusable database. Without a database the
audit is skipped with a message.
"""

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

VARIABLE = "LDTM_VULNERABILITIES"
Record = dict[str, Any]


def main(constraints: str, database: str = "") -> int:
    """Print the result; return the exit status."""
    if not database:
        print(f"AUDIT SKIPPED: no database of vulnerabilities; set {VARIABLE} to the all.zip of PyPI from osv.dev")
        return 0
    lines = Path(constraints).read_text().splitlines()
    pins = {canonicalize_name(name): Version(pin) for name, pin in (line.split("==") for line in lines if line)}
    try:
        found, num_records = [], 0
        for record in records(Path(database)):
            num_records += 1
            found += [f"{name} {pins[name]}: {record['id']}" for name in affected(record, pins)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        print(f"AUDIT FAILED: {database} cannot be read as OSV records ({error!r})")
        return 2
    if not num_records:
        print(f"AUDIT FAILED: {database} has no records")
        return 2
    print(*sorted(found), f"{len(found)} vulnerabilities in {len(pins)} pins, by {num_records:,} records", sep="\n")
    return 1 if found else 0


def records(database: Path) -> Iterator[Record]:
    """The records of a database that were not withdrawn."""
    if database.suffix == ".zip":
        with zipfile.ZipFile(database) as archive:
            contents = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")]
    else:
        content = json.loads(database.read_bytes())
        contents = content if isinstance(content, list) else [content]
    return (record for record in contents if not record.get("withdrawn"))


def affected(record: Record, pins: dict[str, Version]) -> set[str]:
    """The packages whose pinned version a record affects."""
    names = set[str]()
    for about in record.get("affected", []):
        package = about.get("package", {})
        name = canonicalize_name(package.get("name", ""))
        if package.get("ecosystem") == "PyPI" and name in pins and holds(about, pins[name]):
            names.add(name)
    return names


def holds(about: Record, pin: Version) -> bool:
    """True if a version is listed, or is in a range of versions."""
    if any(version_of(listed) == pin for listed in about.get("versions", [])):
        return True
    ranges = [found for found in about.get("ranges", []) if found.get("type") == "ECOSYSTEM"]
    return any(lies_within(found["events"], pin) for found in ranges)


def lies_within(events: list[dict[str, str]], pin: Version) -> bool:
    """True if the last event up to a version leaves it vulnerable."""
    is_inside = False
    for event in sorted(events, key=lambda event: version_of(*event.values()) or Version("0")):
        ((kind, text),) = event.items()
        at = version_of(text) or Version("0")
        if kind == "introduced" and pin >= at:
            is_inside = True
        elif (kind == "fixed" and pin >= at) or (kind == "last_affected" and pin > at):
            is_inside = False
    return is_inside


def version_of(text: str) -> Version | None:
    """The parsed version; None for one that PyPI would refuse today."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))

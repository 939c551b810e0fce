"""GPUs that CUDA_VISIBLE_DEVICES leaves to a process, by the rules of the CUDA Programming Guide."""

import re
from collections.abc import Sequence


def visible_uuids(value: str | None, uuids: Sequence[str]) -> tuple[str, ...]:
    """The GPUs that a value of CUDA_VISIBLE_DEVICES names, in its order; all of them if it is not set.

    `uuids` are the GPUs of the machine, in the order of the numbers in the value. An entry is a number, a UUID or the
    beginning of one. As in CUDA, an entry that is unknown or fits two GPUs ends the list, so that neither it nor the
    entries after it name a GPU; a GPU named twice hides all GPUs.
    """
    if value is None:
        return tuple(uuids)
    named: list[str] = []
    for entry in value.split(","):
        uuid = _named(entry.strip(), uuids)
        if uuid is None:
            break
        if uuid in named:
            return ()
        named.append(uuid)
    return tuple(named)


def counts(value: str | None) -> bool:
    """True if a value of CUDA_VISIBLE_DEVICES names a GPU by its number."""
    return value is not None and any(_number(entry.strip()) is not None for entry in value.split(","))


def _named(entry: str, uuids: Sequence[str]) -> str | None:
    if (number := _number(entry)) is not None:
        return uuids[number] if number < len(uuids) else None
    if not entry.startswith(("GPU-", "MIG-")):
        return None
    found = [uuid for uuid in uuids if uuid.lower().startswith(entry.lower())]
    return found[0] if len(found) == 1 else None


def _number(entry: str) -> int | None:
    """The number that an entry begins with; CUDA ignores what follows it."""
    digits = re.match(r"\+?([0-9]+)", entry)
    return int(digits[1]) if digits else None

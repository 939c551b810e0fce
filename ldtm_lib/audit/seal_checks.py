"""Checks of the seals against the events that they cover, against each other, and against their published copies."""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

from ldtm_lib.audit.discrepancies import Discrepancy
from ldtm_lib.audit.merkle import merkle_root
from ldtm_lib.audit.publications.protocol import Published, PublishedSeal
from ldtm_lib.audit.seal import GENESIS, LEAF_BYTES, Seal, split_leaves
from ldtm_lib.wording import counted, moment_text

CLOCKS_DIFFER = timedelta(minutes=5)
"""Largest difference that is allowed between the database's clock and an authority's."""
Name = Callable[[int], str]
"""Function that returns the subject of an event in words."""


def check_seals(chain: Sequence[Seal], known: Collection[Discrepancy]) -> list[Discrepancy]:
    """Compute all seals again; returns broken ones. `known` are discrepancies of rows, which explain wrong roots."""
    found: list[Discrepancy] = []
    previous, end, last = GENESIS, 0, None
    for at, seal in enumerate(chain):
        reasons = [
            f"it should be seal {at}" if seal.seal_id != at else "",
            f"it begins at event {seal.first_event}, the seal before ends at {end}" if seal.first_event != end else "",
            "it does not follow from the seal before" if seal.previous_sha256 != previous else "",
            "its SHA-256 is not that of its header" if seal.sha256 != seal.expected_sha256 else "",
            "it was closed before the seal before it" if last is not None and seal.sealed_at <= last else "",
            "it covers no event" if seal.num_events < 1 else "",
            _wrong_root(seal, known),
        ]
        if wrong := [reason for reason in reasons if reason]:
            message = f"seal {seal.seal_id} of {seal.session} is broken: {', '.join(wrong)}"
            found.append(Discrepancy(what="broken seal", message=message))
        previous, end, last = seal.sha256, seal.first_event + seal.num_events, seal.sealed_at
    return found


def _wrong_root(seal: Seal, known: Collection[Discrepancy]) -> str:
    leaves = seal.leaf_list
    if len(leaves) == seal.num_events and merkle_root(leaves) == seal.merkle_root:
        return ""
    end = seal.first_event + seal.num_events
    if any(d.event_id is not None and seal.first_event <= d.event_id < end for d in known):
        return "its Merkle root is not that of its events, some of which are named above"
    rewritten = "their hashes were rewritten to fit the rows, or the root was altered"
    return f"its Merkle root is not that of its events: {rewritten}"


def compare(name: str, published: Published, chain: Sequence[Seal], name_of: Name) -> list[Discrepancy]:
    """Compare a publication with the chain.

    Returns its problems, and one discrepancy each for the published seals that the chain has with other values, that
    were stamped before they were closed, and that the chain lacks.
    """
    problems = [Discrepancy(what="publication", message=f"{name}: {problem}") for problem in published.problems]
    own = {seal.seal_id: seal for seal in chain}
    gone = [there for number, there in sorted(published.seals.items()) if number not in own]
    other = [there for number, there in sorted(published.seals.items()) if _differs(own.get(number), there)]
    if other:
        problems.append(_rewritten(name, other, own[other[0].seal_id], name_of))
    backwards = [s for s in published.seals.values() if s.seal_id in own and _stamped_before(own[s.seal_id], s)]
    if backwards:
        first = backwards[0]
        assert first.stamped_at is not None
        message = (
            f"{name}: seal {first.seal_id} states that it was closed at {moment_text(own[first.seal_id].sealed_at)} "
            f"and was stamped before that, at {moment_text(first.stamped_at)}: one of the clocks is wrong"
        )
        problems.append(Discrepancy(what="publication", message=message))
    if gone:
        newest = f"seal {chain[-1].seal_id}" if chain else "no seal at all"
        is_end = not chain or gone[0].seal_id > chain[-1].seal_id
        message = (
            f"{name}: {counted(len(gone), 'published seal is', 'published seals are')} missing from the "
            f"database, the first is seal {gone[0].seal_id}; the database ends with {newest}: "
            + ("it is an older copy, or its end was cut off" if is_end else "seals were deleted")
        )
        problems.append(Discrepancy(what="publication", message=message))
    return problems


def _stamped_before(own: Seal, there: PublishedSeal) -> bool:
    return there.stamped_at is not None and there.stamped_at < own.sealed_at - CLOCKS_DIFFER


def _differs(own: Seal | None, there: PublishedSeal) -> bool:
    return own is not None and own.expected_sha256 != there.sha256


def _rewritten(name: str, other: Sequence[PublishedSeal], own: Seal, name_of: Name) -> Discrepancy:
    """The first seal published with other values and, if its leaves were published too, the first different event."""
    first, event_id = other[0], own.first_event
    more = f", and {counted(len(other) - 1, 'later one')}" if len(other) > 1 else ""
    message = (
        f"{name}: seal {first.seal_id} of {own.session} was published as {first.sha256.hex()[:16]}... "
        f"and is {own.expected_sha256.hex()[:16]}... in the database{more}: the chain was rewritten"
    )
    if first.leaves is not None:
        pairs = zip(split_leaves(first.leaves), own.leaf_list, strict=False)
        at = next((n for n, (there, here) in enumerate(pairs) if there != here), None)
        if at is not None:
            event_id += at
            message += f". The first event that differs is event {event_id}, now {name_of(event_id)}"
        elif len(first.leaves) > len(own.leaves):
            event_id += len(own.leaves) // LEAF_BYTES
            message += f". Its event {event_id} is missing"
        elif len(first.leaves) < len(own.leaves):
            event_id += len(first.leaves) // LEAF_BYTES
            message += f". Event {event_id}, {name_of(event_id)}, was added to it"
        else:
            message += ". Its events are the published ones: the seal itself was altered"
    return Discrepancy(what="publication", message=message)

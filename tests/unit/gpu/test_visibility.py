"""Which GPUs CUDA_VISIBLE_DEVICES leaves: CUDA's rules, and torch's reading of them as the reference."""

import os
from unittest import mock

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ldtm_lib.gpu.visibility import counts, visible_uuids

A, B, C = (
    "GPU-8f3c1b1e-0000-0000-0000-00000000000a",
    "GPU-8f3d0000-0000-0000-0000-00000000000b",
    "GPU-11112222-0000-0000-0000-00000000000c",
)
UUIDS = (A, B, C)
ENTRIES = ["0", "1", "2", "7", "-1", " 1", "2x", "+0", "", "no", A, B, C, "GPU-8f3c", "GPU-8f3", "GPU-1", "GPU-"]


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (None, UUIDS),
        ("", ()),
        ("0", (A,)),
        ("2,0", (C, A)),
        (B, (B,)),
        ("GPU-8f3d,GPU-1", (B, C)),
        ("GPU-8F3D", (B,)),
        ("GPU-8f3", ()),
        ("0,-1,1", (A,)),
        ("0,9,1", (A,)),
        ("1,1", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("MIG-8f3c1b1e-0000-0000-0000-00000000000a", ()),
    ],
)
def test_numbers_uuids_and_their_beginnings_name_gpus(value: str | None, seen: tuple[str, ...]) -> None:
    assert visible_uuids(value, UUIDS) == seen


def test_only_numbers_count() -> None:
    assert [counts(value) for value in (None, "", A, "GPU-1,GPU-8", "-1", "0", f"{A},1")] == [False] * 5 + [True] * 2


@given(entries=st.lists(st.sampled_from(ENTRIES), max_size=4))
def test_torch_reads_a_list_of_one_kind_alike(entries: list[str]) -> None:
    """Up to its first entry that names no GPU: torch looks for repetitions behind it too, CUDA ends there."""
    unknown = next((i for i, entry in enumerate(entries) if not visible_uuids(entry, UUIDS)), len(entries))
    entries = entries[: unknown + 1]
    assume(len({entry.startswith("GPU-") for entry in entries}) < 2)
    value = ",".join(entries)
    with mock.patch.dict(os.environ, CUDA_VISIBLE_DEVICES=value):
        named = torch.cuda._parse_visible_devices()
    if named and isinstance(named[0], str):
        named = torch.cuda._transform_uuid_to_ordinals([str(name) for name in named], list(UUIDS))
    ordinals = [int(number) for number in named]
    known = ordinals[: next((i for i, number in enumerate(ordinals) if number >= len(UUIDS)), None)]
    assert visible_uuids(value, UUIDS) == tuple(UUIDS[number] for number in known)

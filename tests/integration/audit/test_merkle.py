"""Trees by RFC 6962: the fast root, the definition, the database's and the paths agree."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.audit.merkle import audit_path, merkle_root, merkle_root_by_definition
from ldtm_lib.database.connection import Connection
from tests.integration.audit.verifier import verifier

LEAVES = st.lists(st.binary(min_size=32, max_size=32), max_size=70)
ENTRIES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
"""The entries of Certificate Transparency's test vectors (google/certificate-transparency, merkle_tree_test.cc)."""
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("size", ROOTS)
def test_the_roots_are_the_published_ones(size: int) -> None:
    leaves = [hashlib.sha256(b"\x00" + bytes.fromhex(entry)).digest() for entry in ENTRIES[:size]]
    assert merkle_root(leaves).hex() == ROOTS[size]


@given(leaves=LEAVES)
def test_the_fast_root_is_that_of_the_definition(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == merkle_root_by_definition(leaves)


def test_the_databases_root_is_the_same_for_every_size(conn: Connection) -> None:
    for size in [*range(70), 127, 128, 129, 1000]:
        leaves = [hashlib.sha256(str(n).encode()).digest() for n in range(size)]
        assert conn.execute("select merkle_root(%s::bytea[])", (leaves,)).fetchone() == (merkle_root(leaves),), size


@given(leaves=LEAVES.filter(bool), data=st.data())
def test_a_path_leads_to_the_root_and_to_no_other_place(leaves: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(leaves) - 1))
    path = audit_path(leaves, at)
    assert verifier.root_from(leaves[at], at, len(leaves), path) == merkle_root(leaves)
    assert len(path) <= len(leaves).bit_length()
    for wrong in {at - 1, at + 1} & set(range(len(leaves))):
        with contextlib.suppress(verifier.NotProven):
            root = verifier.root_from(leaves[at], wrong, len(leaves), path)
            assert root != merkle_root(leaves) or leaves[at] == leaves[wrong]
    for cut in (path[:-1], [*path, bytes(32)]):
        if cut != path:
            with pytest.raises(verifier.NotProven):
                verifier.root_from(leaves[at], at, len(leaves), cut)

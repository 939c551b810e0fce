"""Deletions in transactions of a bounded size, so that nobody waits long for one and none is lost that was done."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from ldtm_lib.database.connection import Connection

ROWS_PER_TRANSACTION = 5000

Parameters = Mapping[str, datetime | Sequence[str]]


def delete_in_batches(conn: Connection, statement: bytes, parameters: Parameters) -> int:
    """Repeat a statement that deletes at most `limit` rows until it finds fewer; returns how many went."""
    num_deleted = 0
    while True:
        with conn.transaction():
            now_gone = conn.execute(statement, {**parameters, "limit": ROWS_PER_TRANSACTION}).rowcount
        num_deleted += now_gone
        if now_gone < ROWS_PER_TRANSACTION:
            return num_deleted

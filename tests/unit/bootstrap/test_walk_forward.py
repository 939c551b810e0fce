"""Blocks of a walk-forward simulation cover every session once, and no model sees a session that it forecasts."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.bootstrap.walk_forward import last_sessions, walk_forward_blocks
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.sessions import exchange_calendar

LAST = date(2013, 3, 1)


@given(num_sessions=st.integers(1, 70), retrain_every=st.integers(1, 80))
def test_every_session_is_in_one_block_after_the_sessions_that_its_models_saw(
    num_sessions: int, retrain_every: int
) -> None:
    calendar = exchange_calendar()
    sessions = last_sessions(calendar, LAST, num_sessions)
    blocks = walk_forward_blocks(calendar, sessions[0], LAST, retrain_every)
    assert [session for block in blocks for session in block.sessions] == list(sessions)
    assert len(sessions) == num_sessions
    assert sessions[-1] == LAST
    for block in blocks:
        assert calendar.offset(block.trained_on, 1) == block.first_session == block.sessions[0]
    assert [len(block.sessions) for block in blocks[:-1]] == [retrain_every] * (len(blocks) - 1)


def test_no_sessions_are_no_simulation() -> None:
    with pytest.raises(ConfigurationError, match="0 sessions cannot be simulated; name at least one"):
        last_sessions(exchange_calendar(), LAST, 0)

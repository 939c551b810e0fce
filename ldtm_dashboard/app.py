"""The program that Streamlit runs: navigation, the page, and a message while the database is unavailable."""

import streamlit as st

from ldtm_dashboard import views
from ldtm_dashboard.screens import leaderboard, models, operations, record, ticker, tonight
from ldtm_lib.errors import LdtmError

RETRY_SECONDS = 4.0
POLL_SECONDS = 10.0
"""Interval between checks for a new event; the number of the newest one may be `views.CHECK_SECONDS` old."""


def main() -> None:
    """Draw the page that the address names."""
    st.set_page_config(page_title="LDTM", page_icon=":material/query_stats:", layout="wide")
    chosen = st.navigation(
        [
            st.Page(leaderboard.page, title="Leaderboard", url_path="leaderboard", default=True),
            st.Page(tonight.page, title="Tonight", url_path="tonight"),
            st.Page(ticker.page, title="Ticker", url_path="ticker"),
            st.Page(models.page, title="Models", url_path="models"),
            st.Page(record.page, title="Record", url_path="record"),
            st.Page(operations.page, title="Operations", url_path="operations"),
        ],
        position="top",
    )
    st.title(chosen.title)
    try:
        shown = views.newest_event()
        chosen.run()
        follow(shown)
    except LdtmError as error:
        st.error(f"The dashboard cannot show this page: {error}", icon=":material/error:")
        st.caption(f"This page tries again every {RETRY_SECONDS:g} seconds.")
        retry()


@st.fragment(run_every=POLL_SECONDS)
def follow(shown: int) -> None:
    """Draw the page again when the record has a newer event than the one that it shows."""
    try:
        changed = views.newest_event() != shown
    except LdtmError:
        changed = True
    if changed:
        st.rerun(scope="app")


@st.fragment(run_every=RETRY_SECONDS)
def retry() -> None:
    """Draw the page again when the database answers."""
    try:
        views.reader.clear()
        views.newest_event()
    except LdtmError:
        return
    st.rerun(scope="app")


if __name__ == "__main__":
    main()

"""The page Record: seals, publications, the last verification, and a form that verifies a proof."""

import streamlit as st

from ldtm_dashboard import views
from ldtm_dashboard.frames.record import LastVerification
from ldtm_dashboard.screens import parts
from ldtm_lib.alerts.alert import check_link


def page() -> None:
    """Draw the page."""
    found, verification = views.chain(views.newest_event())
    columns = st.columns(3)
    columns[0].metric("Events", f"{found.num_events:,}")
    columns[1].metric("Newest seal", "none" if found.seals.is_empty() else str(found.seals["seal_id"][0]))
    columns[2].metric("Unsealed events", f"{found.num_unsealed:,}")
    st.header("Last verification")
    st.markdown(_verification(verification))
    st.header("Publications")
    st.markdown("\n".join(f"- `{place}`" for place in found.publications))
    st.text(found.published)
    proofs()
    st.header("Seals")
    if found.seals.is_empty():
        st.info("Nothing is sealed yet; a daily run makes a seal at its end, and `ldtm audit seal` makes one now.")
        return
    shown = {
        "seal_id": parts.number("Seal", "%d"),
        "session": st.column_config.DateColumn("Session"),
        "num_events": parts.number("Events", "%d"),
        "sealed_at": parts.utc("Sealed"),
        "sha256": parts.text("SHA-256"),
    }
    parts.table(found.seals, shown, key="seals", height=420)


def proofs() -> None:
    """The form that verifies an uploaded proof."""
    st.header("Verify a proof")
    st.caption("`ldtm audit prove TICKER DATE` writes a proof. An uploaded file is checked here and not stored.")
    file = st.file_uploader("Proof (JSON)", type=["json"])
    if file is None:
        return
    result = views.proof_result(file.getvalue())
    if result.is_proven:
        st.success(f"✓ {parts.plain(result.message)}", icon=":material/verified:")
    else:
        st.error(f"✗ {parts.plain(result.message)}", icon=":material/error:")
    if result.events:
        st.code("\n".join(result.events), language=None, wrap_lines=True)
    if result.seals:
        st.caption("Compare its seals with a publication that the owner cannot rewrite:")
        st.code("\n".join(result.seals), language=None, wrap_lines=True)


def _verification(found: LastVerification | None) -> str:
    if found is None:
        return "No daily run has verified the record yet; `ldtm audit verify` does it now."
    ui = views.reader().project.settings.ui.url.rstrip("/")
    word = "✓ intact" if found.is_intact else "✗ **not intact**"
    link = f"{ui}{check_link('snapshots', 'record_is_intact')}"
    return f"{word}, {parts.moment(found.at)}: [the check in Dagster]({link})"

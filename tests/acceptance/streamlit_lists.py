"""Drop-down lists of Streamlit, used as a person does."""

import json

from tests.acceptance.browser import Tab


def open_list(tab: Tab, label: str) -> None:
    """Open the list with a label, and wait until its options are there."""
    labelled = f"each.innerText.startsWith({json.dumps(label)})"
    lists = "[...document.querySelectorAll('[data-testid=\"stSelectbox\"]')]"
    tab.wait_for(f"{lists}.some(each => {labelled})")
    tab.js(
        f"""(() => {{
            const place = {lists}.find(each => {labelled}).querySelector('input');
            place.focus();
            place.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowDown', bubbles: true}}));
            place.dispatchEvent(new MouseEvent('mousedown', {{bubbles: true}}));
            place.click();
        }})()"""
    )
    tab.wait_for("!!document.querySelector('[role=\"option\"]')")


def pick(tab: Tab, option: str) -> None:
    """Click the option that contains some words, in the list that is open."""
    tab.js(
        "[...document.querySelectorAll('[role=\"option\"]')]"
        f".find(each => each.innerText.includes({json.dumps(option)})).click()"
    )

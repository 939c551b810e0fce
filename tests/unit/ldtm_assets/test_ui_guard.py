"""The access rules of the UI: the requests that reach Dagster, the others with the reason, and the token's file."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from ldtm_assets.guarded_dagster import UnknownDagster, wrap_function
from ldtm_assets.ui_guard import UiGuard, login_link, ui_token
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.settings import UiConfig

TOKEN = "t" * 43
OWN = "127.0.0.1:3000"
JSON = {"content-type": "application/json"}
VISIT = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
OPEN = UiGuard(app=PlainTextResponse("reached"), config=UiConfig(url="https://ldtm.example.org"), token=None)
CLOSED = UiGuard(app=PlainTextResponse("reached"), config=UiConfig(), token=TOKEN)


def answer(
    guard: UiGuard,
    method: str = "GET",
    path: str = "/",
    query: str = "",
    host: str = OWN,
    kind: str = "http",
    **headers: str,
) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of the answer to a request; 200 for one that reaches Dagster."""
    named = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope: dict[str, Any] = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "scheme": "http",
    }
    refused = guard.refusal(scope | ({"method": method} if kind == "http" else {}))
    return (
        (200, "", {}) if refused is None else (refused.status_code, bytes(refused.body).decode(), {**refused.headers})
    )


@pytest.mark.parametrize(
    "host",
    [OWN, "localhost", "LOCALHOST:81", "[::1]:3000", "192.0.2.7:3000", "ldtm.example.org", "LDTM.example.org:8443"],
)
def test_addresses_localhost_and_the_host_of_the_setting_url_are_answered(host: str) -> None:
    assert answer(OPEN, host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example:3000",
        "localhost.evil.example",
        "evil@localhost",
        "127.0.0.1.evil.example",
        "localhost:x",
        "[::1",
    ],
)
def test_another_host_is_refused_with_the_remedy(host: str) -> None:
    status, text, _ = answer(OPEN, host=host)
    assert status == 421
    assert text == (
        f"Refused: the UI does not answer to the host {host!r}: set url of the section [ui] to the address by which "
        "you reach it, and restart Dagster.\n"
    )


def test_the_name_that_the_ui_is_served_on_is_answered() -> None:
    named = UiGuard(app=OPEN.app, config=UiConfig(host="Server.lan", allow_other_addresses=True), token=None)
    assert answer(named, host="server.lan:3000")[0] == 200
    assert answer(OPEN, host="server.lan:3000")[0] == 421


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/graphql", JSON, 200),
        ("POST", "/graphql", {"content-type": "Application/JSON; charset=utf-8"}, 200),
        ("POST", "/graphql", JSON | {"origin": f"http://{OWN}", "sec-fetch-site": "same-origin"}, 200),
        ("POST", "/graphql", JSON | {"origin": "http://evil.example"}, 403),
        ("POST", "/graphql", JSON | {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-site"}, 403),
        ("POST", "/graphql", JSON | {"origin": "null"}, 403),
        ("POST", "/graphql", JSON | {"sec-fetch-site": "cross-site"}, 403),
        ("POST", "/graphql", JSON | VISIT, 403),
        ("POST", "/graphql", {}, 415),
        ("POST", "/graphql", {"content-type": "text/plain"}, 415),
        ("POST", "/graphql", {"content-type": "text/plain; application/json"}, 415),
        ("POST", "/graphql", {"content-type": "application/graphql"}, 415),
        ("POST", "/graphql", {"content-type": "application/x-www-form-urlencoded"}, 415),
        ("POST", "/report_asset_materialization/seals", {}, 415),
        ("OPTIONS", "/graphql", {"origin": "http://evil.example"}, 403),
        ("GET", "/graphql", {}, 405),
        ("GET", "/graphql", {"accept": "text/html"}, 405),
        ("HEAD", "/graphql", {}, 405),
        ("GET", "/runs", {}, 200),
        ("GET", "/runs", VISIT, 200),
        ("GET", "/runs", VISIT | {"sec-fetch-dest": "iframe"}, 403),
        ("GET", "/logs/x", {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}, 403),
        ("GET", "/runs", {"sec-fetch-site": "none"}, 200),
    ],
)
def test_only_requests_of_the_ui_itself_and_of_programs_reach_dagster(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    named = {name.replace("-", "_"): value for name, value in headers.items()}
    assert answer(OPEN, method, path, **named)[0] == status


def test_a_websocket_of_another_origin_is_refused() -> None:
    assert answer(OPEN, path="/graphql", kind="websocket", origin=f"http://{OWN}")[0] == 200
    assert answer(OPEN, path="/graphql", kind="websocket")[0] == 200
    assert answer(OPEN, path="/graphql", kind="websocket", origin="http://evil.example")[0] == 403
    assert answer(OPEN, path="/graphql", kind="websocket", sec_fetch_site="same-site")[0] == 403


def test_a_refusal_names_the_other_site() -> None:
    assert answer(OPEN, "POST", "/graphql", origin="http://evil.example")[1] == (
        "Refused: a page of http://evil.example may not use the UI; open http://127.0.0.1:3000 instead.\n"
    )


def test_without_the_token_nothing_but_the_versions_is_answered() -> None:
    for path, kind in (("/", "http"), ("/runs", "http"), ("/graphql", "websocket"), ("/server_info/", "http")):
        assert answer(CLOSED, path=path, kind=kind)[0] == 401
    assert answer(CLOSED, query="token=" + "u" * 43)[0] == 401
    assert answer(CLOSED, authorization=f"Basic {TOKEN}")[0] == 401
    assert answer(CLOSED, cookie=f"ldtm_ui_3001={TOKEN}")[0] == 401, "of another port"
    assert answer(CLOSED, cookie="ldtm_ui_3000=é")[0] == 401
    assert answer(CLOSED, path="/server_info")[0] == 200
    assert "<code>ldtm up</code> prints a link with it" in answer(CLOSED)[1]


def test_the_link_sets_a_cookie_that_scripts_and_other_sites_do_not_get() -> None:
    status, _, headers = answer(CLOSED, path="/runs", query=f"token={TOKEN}")
    assert (status, headers["location"]) == (303, "/"), "the token is no part of the address that remains"
    cookie, *attributes = headers["set-cookie"].split("; ")
    assert cookie == f"ldtm_ui_3000={TOKEN}"
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(attributes)
    assert answer(CLOSED, cookie=cookie)[0] == 200
    assert answer(CLOSED, path="/graphql", kind="websocket", cookie=cookie)[0] == 200
    assert (
        answer(CLOSED, "POST", "/graphql", authorization=f"Bearer {TOKEN}", content_type="application/json")[0] == 200
    )


def test_a_known_client_is_still_held_to_the_other_rules() -> None:
    assert answer(CLOSED, host="evil.example", cookie=f"ldtm_ui_={TOKEN}")[0] == 421
    assert answer(CLOSED, "POST", "/graphql", cookie=f"ldtm_ui_3000={TOKEN}", origin="http://localhost:8000")[0] == 403


def test_the_token_is_made_once_and_readable_for_its_owner_alone(tmp_path: Path) -> None:
    token = ui_token(tmp_path)
    file = tmp_path / "ui-token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(token) == 43
    assert ui_token(tmp_path) == token
    assert login_link("http://127.0.0.1:3000", tmp_path) == f"http://127.0.0.1:3000/?token={token}"
    file.chmod(0o640)
    with pytest.raises(
        ConfigurationError, match=r"other users may read .*ui-token.*; remove it, then `ldtm down` and `ldtm up`"
    ):
        ui_token(tmp_path)
    file.chmod(0o600)
    file.write_text("short\n")
    with pytest.raises(ConfigurationError, match="holds 5 characters, too few for a token of the UI; remove it"):
        ui_token(tmp_path)


def test_a_dagster_whose_functions_have_moved_is_refused() -> None:
    with pytest.raises(UnknownDagster, match=r"has no moved\.create_app, so its webserver cannot be guarded"):
        wrap_function(ModuleType("moved"), "create_app", lambda function: function)

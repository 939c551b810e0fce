"""The UI of a running installation: its own pages work in a real browser, those of other sites and users do not."""

import functools
import gzip
import http.client
import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ldtm_assets.ui_guard import login_link
from tests.acceptance.browser import CHROMIUM, Tab, browser
from tests.acceptance.ui_installation import ONE_DAY, UiInstallation, installed_with_ui

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed here")
NOBODY = 65534
CURL = shutil.which("curl")
FORGE = (
    "mutation { reportRunlessAssetEvents(eventParams: "
    '{eventType: ASSET_MATERIALIZATION, assetKey: {path: ["seals"]}}) { __typename } }'
)
FORGED = "select count(*) from ldtm_dagster.event_logs where asset_key = '[\"seals\"]'"
BODY = json.dumps({"query": FORGE})
JSON = {"Content-Type": "application/json"}
EVIL = "http://evil.example"
ATTACK = """
(async () => {
  const url = '%(url)s', body = JSON.stringify({query: %(query)s}), outcomes = {};
  const attempt = async (name, send) => {
    try { await send(); outcomes[name] = 'sent' } catch { outcomes[name] = 'blocked' }
  };
  await attempt('get', () => fetch(url + '?query=' + encodeURIComponent(%(query)s), {mode: 'no-cors'}));
  await attempt('text', () => fetch(url, {method: 'POST', mode: 'no-cors', body}));
  await attempt('json', () => fetch(url, {method: 'POST', headers: {'Content-Type': 'application/json'}, body}));
  outcomes.socket = await new Promise(done => {
    const socket = new WebSocket(url.replace('http', 'ws'), 'graphql-ws');
    socket.onopen = () => done('opened'); socket.onerror = () => done('blocked');
  });
  outcomes.frame = await new Promise(done => {
    const frame = document.createElement('iframe');
    frame.onload = () => done(frame.contentDocument ? 'readable' : 'loaded');
    frame.src = '%(page)s'; document.body.append(frame);
  });
  return outcomes;
})()
"""


@pytest.fixture(scope="module")
def open_to_all() -> Iterator[UiInstallation]:
    """An installation whose UI asks for no token."""
    with installed_with_ui() as installed:
        yield installed


@pytest.fixture(scope="module")
def closed() -> Iterator[UiInstallation]:
    """An installation whose UI asks for its token."""
    with installed_with_ui("[ui]\ntoken = true\n") as installed:
        yield installed


@pytest.fixture(scope="module")
def other_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a webserver with an empty page."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text("<!doctype html><body>another site</body>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def _answer(
    installation: UiInstallation, method: str, path: str, body: str | None = None, **headers: str
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", installation.ui.port, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    reply = connection.getresponse()
    return reply.status, reply.read().decode()


def _forged(installation: UiInstallation) -> int:
    [(number,)] = installation.rows(FORGED)
    assert isinstance(number, int)
    return number


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", f"/graphql?query={quote(FORGE)}", None, {}, 405),
        ("GET", f"/graphql?query={quote(FORGE)}", None, {"Origin": EVIL}, 403),
        ("POST", "/graphql", BODY, JSON | {"Origin": EVIL}, 403),
        ("POST", "/graphql", BODY, JSON | {"Origin": "null"}, 403),
        ("POST", "/graphql", BODY, {"Content-Type": "text/plain"}, 415),
        ("POST", "/graphql", BODY, {"Content-Type": "text/plain;application/json"}, 415),
        ("POST", f"/graphql?query={quote(FORGE)}", "", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("POST", "/graphql", FORGE, {"Content-Type": "application/graphql"}, 415),
        ("POST", "/graphql", BODY, JSON | {"Host": "evil.example"}, 421),
        ("POST", "/%67raphql", BODY, JSON | {"Host": "evil.example"}, 421),
        ("GET", f"/%67raphql?query={quote(FORGE)}", None, {}, 405),
        ("POST", "/report_asset_materialization/seals", "", {"Origin": EVIL}, 403),
        ("POST", "/report_asset_materialization/seals", "", {}, 415),
    ],
)
def test_no_forged_request_reaches_dagster(
    open_to_all: UiInstallation, method: str, path: str, body: str | None, headers: dict[str, str], status: int
) -> None:
    before = _forged(open_to_all)
    found, text = _answer(open_to_all, method, path, body, **headers)
    assert (found, text[:9]) == (status, "Refused: ")
    assert _forged(open_to_all) == before


def test_a_program_that_sends_json_reaches_dagster(open_to_all: UiInstallation) -> None:
    before = _forged(open_to_all)
    assert open_to_all.ui.ask(FORGE)["reportRunlessAssetEvents"]["__typename"] == "ReportRunlessAssetEventsSuccess"
    assert _forged(open_to_all) == before + 1, "so the refused requests would have had an effect"
    own = f"http://127.0.0.1:{open_to_all.ui.port}"
    assert _answer(open_to_all, "POST", "/graphql", '{"query": "{version}"}', **JSON, Origin=own)[0] == 200


def test_a_websocket_of_another_origin_is_refused(open_to_all: UiInstallation) -> None:
    url = f"ws://127.0.0.1:{open_to_all.ui.port}/graphql"
    with pytest.raises(InvalidStatus, match="403"), connect(url, origin=EVIL, subprotocols=["graphql-ws"]):  # pyright: ignore[reportArgumentType]
        pass
    with connect(url, subprotocols=["graphql-ws"]) as socket:  # pyright: ignore[reportArgumentType]
        socket.send('{"type": "connection_init"}')
        assert json.loads(socket.recv()) == {"type": "connection_ack"}


@NEEDS_CHROMIUM
@pytest.mark.parametrize(("host", "as_seen"), [("localhost", "cross-site"), ("127.0.0.1", "same-site")])
def test_a_page_of_another_site_reaches_nothing(
    open_to_all: UiInstallation, other_site: int, host: str, as_seen: str
) -> None:
    before = _forged(open_to_all)
    ui = f"http://127.0.0.1:{open_to_all.ui.port}"
    with browser() as tab:
        tab.open(f"http://{host}:{other_site}/")
        words = {"url": f"{ui}/graphql", "page": f"{ui}/", "query": json.dumps(FORGE)}
        outcomes = tab.js(ATTACK % words)
        answers = [event["response"]["status"] for event in tab.seen("Network.responseReceived")]
    assert (outcomes["json"], outcomes["socket"]) == ("blocked", "blocked")
    assert outcomes["frame"] == "loaded", "with the refusal, which this page cannot read"
    assert set(answers) - {404} <= {200, 403}
    assert answers.count(403) >= 3
    assert _forged(open_to_all) == before, as_seen


@NEEDS_CHROMIUM
def test_a_name_that_is_rebound_to_this_machine_shows_nothing(open_to_all: UiInstallation) -> None:
    with browser("--host-resolver-rules=MAP rebound.example 127.0.0.1") as tab:
        tab.open(f"http://rebound.example:{open_to_all.ui.port}/")
        assert "the UI does not answer to the host 'rebound.example" in tab.text()
        reached = tab.js(
            "fetch('/graphql', {method: 'POST', headers: {'Content-Type': 'application/json'}, "
            'body: \'{"query": "{version}"}\'}).then(reply => reply.status)'
        )
        assert reached == 421


@pytest.mark.skipif(os.geteuid() != 0 or CURL is None, reason="only root may ask as another user, who needs curl")
def test_another_user_of_the_machine_needs_the_token(closed: UiInstallation) -> None:
    def as_nobody(*command: str) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/"
        )
        return done.stdout + done.stderr

    asked = [str(CURL), "-s", "-o", "/dev/null", "-w", "%{http_code}"]
    ui = f"http://127.0.0.1:{closed.ui.port}"
    for path in ("/", "/runs?token=guess", "/download_debug/x"):
        assert as_nobody(*asked, ui + path) == "401"
    forged = [*asked, "-H", "Content-Type: application/json", "-d", BODY, f"{ui}/graphql"]
    assert as_nobody(*forged) == "401"
    token = closed.project.home / "ui-token"
    assert "Permission denied" in as_nobody("cat", str(token))
    assert as_nobody(*forged, "-H", f"Authorization: Bearer {token.read_text().strip()}") == "200", "as its owner can"


def test_the_token_stands_in_one_file_and_on_no_command_line(closed: UiInstallation) -> None:
    token = (closed.project.home / "ui-token").read_text().strip()
    assert _answer(closed, "GET", f"/?token={token}")[0] == 303
    files = [path.name for path in closed.project.home.rglob("*") if path.is_file() and _contains(path, token)]
    lines = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _contains(path, token)]
    assert (files, lines) == (["ui-token"], [])


def _contains(path: Path, token: str) -> bool:
    try:
        return token.encode() in path.read_bytes()
    except OSError:
        return False


@NEEDS_CHROMIUM
def test_the_pages_their_websockets_and_downloads_work_in_a_browser(closed: UiInstallation, tmp_path: Path) -> None:
    ui = f"http://127.0.0.1:{closed.ui.port}"
    with browser() as tab:
        tab.open(f"{ui}/")
        assert tab.text().startswith("This UI needs the token of its installation.")
        tab.open(login_link(ui, closed.project.home))
        assert "token" not in tab.js("location.href")
        assert tab.js("document.cookie") == "", "scripts do not see the token"
        _materialize(closed, tab, ui)
        run_id = tab.js("location.pathname").rpartition("/")[2]
        _reload(tab)
        _download(tab, f"{ui}/download_debug/{run_id}", tmp_path)
        for page in (
            "/overview/activity",
            "/assets",
            "/assets/snapshots",
            "/asset-groups",
            "/automation",
            "/deployment",
        ):
            tab.open(f"{ui}{page}")
            tab.wait_for("!document.body.innerText.includes('Loading') && document.body.innerText.length > 200")
            assert tab.failures() == [], page


def _materialize(closed: UiInstallation, tab: Tab, ui: str) -> None:
    """Launch a run, open its page while it executes, and wait until the websocket has brought its end."""
    closed.ui.launch(["prices"], [f"{ONE_DAY}|AAPL"])
    deadline = time.monotonic() + 60
    while not (runs := closed.rows("select run_id from ldtm_dagster.runs order by id desc limit 1")):
        assert time.monotonic() < deadline, "no run was launched"
        time.sleep(0.2)
    tab.open(f"{ui}/runs/{runs[0][0]}")
    tab.wait_for("document.body.innerText.includes('RUN_SUCCESS') || document.body.innerText.includes('RUN_FAILURE')")
    assert "RUN_SUCCESS" in tab.text()
    frames = [event["response"]["payloadData"] for event in tab.seen("Network.webSocketFrameReceived")]
    assert any("RunSuccessEvent" in frame for frame in frames), "the log came over the websocket"
    assert tab.failures() == []


def _reload(tab: Tab) -> None:
    """The page is there again after a reload."""
    tab.events.clear()
    tab.call("Page.reload")
    tab.wait_for("document.readyState === 'complete' && document.body.innerText.includes('RUN_SUCCESS')")
    assert tab.failures() == []


def _download(tab: Tab, url: str, folder: Path) -> None:
    """A file that the UI offers arrives whole."""
    tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    tab.js(
        f"(() => {{ const a = document.createElement('a'); a.href = '{url}'; a.download = 'debug.gz'; a.click() }})()"
    )
    deadline = time.monotonic() + 60
    while not (found := list(folder.glob("debug.gz"))):
        assert time.monotonic() < deadline, f"nothing was downloaded: {list(folder.iterdir())}"
        time.sleep(0.2)
    assert b"PIPELINE_SUCCESS" in gzip.decompress(found[0].read_bytes())

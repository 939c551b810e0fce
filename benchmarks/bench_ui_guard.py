"""Time of a request to Dagster's webserver, with and without the access rules of the UI.

Run on an idle machine: `python benchmarks/bench_ui_guard.py [NUM_REQUESTS]`. The script starts three webservers with an
empty workspace and storage in a temporary folder, two of them without the rules, and sends requests to all in random
order over one open connection each. A difference not larger than that between the two without the rules is noise.
"""

import http.client
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from starlette.responses import PlainTextResponse

from ldtm_assets.guarded_dagster import MODULE
from ldtm_assets.ui_guard import UiGuard, ui_token
from ldtm_lib.project import CONFIG_VARIABLE, home_of
from ldtm_lib.settings import UiConfig, load_settings

NUM_REQUESTS, NUM_WARM = 1000, 50
REQUESTS = {
    "GraphQL, version": ("POST", "/graphql", '{"query": "{version}"}'),
    "page": ("GET", "/", None),
}


@contextmanager
def webserver(folder: Path, module: list[str]) -> Iterator[http.client.HTTPConnection]:
    """A connection to a webserver that answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", *module, "-p", str(port), "--empty-workspace"]
    variables = {"DAGSTER_HOME": str(folder), CONFIG_VARIABLE: str(folder / "universe.toml")}
    process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        while True:
            try:
                connection.connect()
                break
            except ConnectionRefusedError:
                time.sleep(0.2)
        yield connection
    finally:
        process.terminate()
        process.wait()


def milliseconds(connection: http.client.HTTPConnection, request: str, token: str) -> float:
    """The time until one answer has been read."""
    method, path, body = REQUESTS[request]
    started = time.perf_counter()
    connection.request(method, path, body, {"Content-Type": "application/json", "Authorization": f"Bearer {token}"})
    reply = connection.getresponse()
    reply.read()
    assert reply.status == 200, reply.status
    return 1000 * (time.perf_counter() - started)


def microseconds_of_the_rules(token: str) -> float:
    """The time that the rules themselves take for a request with the cookie of a browser."""
    guard = UiGuard(app=PlainTextResponse(), config=UiConfig(), token=token)
    headers = {
        "host": "127.0.0.1:3000",
        "origin": "http://127.0.0.1:3000",
        "sec-fetch-site": "same-origin",
        "content-type": "application/json",
        "cookie": f"ldtm_ui_3000={token}",
    }
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/graphql",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    assert guard.refusal(scope) is None
    return 1e6 * min(timeit.repeat(lambda: guard.refusal(scope), number=1000, repeat=20)) / 1000


def main(num_requests: int) -> None:
    """Print the time of the rules, and minimum, median and 99th percentile of the answers of each webserver."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "universe.toml").write_text('tickers = ["AAPL"]\n[ui]\ntoken = true\n')
        (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        home = home_of(load_settings(folder / "universe.toml"))
        home.mkdir(parents=True)
        token = ui_token(home)
        print(f"the rules alone: {microseconds_of_the_rules(token):.0f} µs a request\n")
        with ExitStack() as stack:
            found = {
                name: stack.enter_context(webserver(folder, module))
                for name, module in (
                    ("without", ["dagster_webserver"]),
                    ("without, again", ["dagster_webserver"]),
                    ("with", [MODULE, "webserver"]),
                )
            }
            print("| request | rules | min | p50 | p99 |\n|---|---|---|---|---|")
            for request in REQUESTS:
                taken: dict[str, list[float]] = {server: [] for server in found}
                for number in range(NUM_WARM + num_requests):
                    for server in random.sample(list(found), len(found)):
                        took = milliseconds(found[server], request, token)
                        if number >= NUM_WARM:
                            taken[server].append(took)
                for server, times in taken.items():
                    p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
                    print(f"| {request} | {server} | {min(times):.2f} ms | {p50:.2f} ms | {p99:.1f} ms |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else NUM_REQUESTS)

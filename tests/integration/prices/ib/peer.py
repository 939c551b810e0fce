"""A peer that speaks TWS's protocol on a loopback socket, and can be made to behave as badly as the real one.

`with TwsPeer(bars) as peer: peer.script("AAPL", Error(162, "..."), Silence())`; as a process of its own see
standalone.py. Bars are served up to the newest session that has closed by the peer's clock. Frames are four bytes of
length and NUL-terminated fields. Clients are held to IB's rules: at most 50 open historical requests, no identical
one within 15 seconds.
"""

import asyncio
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Container, Coroutine, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import polars as pl

from ldtm_lib.sessions import exchange_calendar
from tests.integration.prices.ib.market import LaterSplit, Listing, Market
from tests.integration.prices.ib.reactions import (
    Drop,
    Empty,
    Error,
    Garbled,
    LinkLost,
    Notices,
    Reaction,
    Restart,
    Short,
    Silence,
)

SERVER_VERSION = 176
MOST_OPEN = 50
CONTRACT_FIELDS: tuple[str, ...] = (
    "con_id", "symbol", "type", "expiry", "strike", "right", "multiplier", "exchange", "primary_exchange", "currency",
    "local_symbol", "trading_class",
)  # fmt: skip
NO_DATA = "Historical Market Data Service error message:HMDS query returned no data: {symbol}@SMART Trades"
PACING = "Historical Market Data Service error message:Historical data request pacing violation"
UNKNOWN = "No security definition has been found for the request"
AMBIGUOUS = "The contract description specified for {symbol} is ambiguous"
TOO_MANY = "Error processing request:-'bQ' : cause - Only 50 simultaneous API historical data requests allowed."
GREETING = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefnj"),
)
LOST = "Connectivity between IB and Trader Workstation has been lost."
NEVER_THERE = "Connectivity between Trader Workstation and server is broken. It will be restored automatically."
RESTORED = "Connectivity between IB and Trader Workstation has been restored - data {words}."
ALL_FARMS = " All data farms are connected: usfarm; ushmds; secdefnj."
BUT_HISTORIES = " The following farms are connected: usfarm; secdefnj. The following farms are not connected: ushmds."


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One historical request as it arrived."""

    symbol: str
    con_id: str
    end: str
    duration: str
    bar_size: str
    what: str
    regular_hours: str
    client_id: int
    at: float
    """By the monotonic clock."""


@dataclass(slots=True, eq=False)
class _Client:
    """One connection."""

    writer: asyncio.StreamWriter
    ordinal: int
    """The number of connections until this one."""
    client_id: int = -1
    open: set[int] = field(default_factory=set[int])

    def send(self, *fields: object) -> None:
        payload = "".join(f"{value}\0" for value in fields).encode()
        self.send_raw(payload)

    def send_raw(self, payload: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(struct.pack(">I", len(payload)) + payload)

    def tell(self, code: int, text: str, request: int = -1) -> None:
        self.send(4, 2, request, code, text, "")


class TwsPeer:
    """A TWS of one's own; a context manager that listens from `__enter__` to `__exit__`, in a thread of its own."""

    def __init__(
        self,
        bars: pl.DataFrame,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        port: int = 0,
        host: str = "127.0.0.1",
        latency_seconds: float = 0.0,
        identical_seconds: float = 15.0,
        listings: Sequence[Listing] = (),
        splits: Sequence[LaterSplit] = (),
        partial: bool = False,
        accounts: str = "DU1234567",
    ) -> None:
        self.host, self.port = host, port
        self.market = Market(bars, exchange_calendar(), clock, listings=listings, splits=splits, partial=partial)
        self.latency_seconds, self.identical_seconds, self.accounts = latency_seconds, identical_seconds, accounts
        self.greeting: Sequence[tuple[int, str]] = GREETING
        self.taken_client_ids: set[int] = set()
        self.is_mute = False
        """Whether connections are taken and nothing is ever said on them."""
        self.silent_connections: Container[int] = ()
        """The ordinals, from 1, of connections that log on and answer no request."""
        self.dropped_logins: Container[int] = ()
        """The ordinals of connections that log on and are closed at once."""
        self.is_serial = False
        """Whether one request after the other is worked on, each for the latency."""
        self.asked: list[Asked] = []
        self.most_open = 0
        self.num_connections = 0
        self.num_broken_rules = 0
        """Requests that IB's own rules refused: too many at once, or identical within 15 seconds."""
        self.received: list[str] = []
        """The type of every message that came, in order."""
        self._scripts: defaultdict[str, deque[Reaction]] = defaultdict(deque)
        self._clients: set[_Client] = set()
        self._last_asked: dict[tuple[str, ...], float] = {}
        self._link: asyncio.Event | None = None
        self._work: asyncio.Lock | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tws-peer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close(last=True))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def script(self, symbol: str, *reactions: Reaction) -> None:
        """What happens to the next requests of a symbol, one after the other; those after them are answered."""
        self._scripts[symbol].extend(reactions)

    def start_outage(self) -> None:
        """Every connection closes and the port refuses new ones."""
        self._run(self._close())

    def end_outage(self) -> None:
        """The port listens again."""
        self._run(self._listen())

    def tell(self, code: int, text: str) -> None:
        """A message of no request, to everybody."""
        self._loop.call_soon_threadsafe(self._tell_all, code, text)

    def drop_all(self) -> None:
        """Every connection breaks; the port goes on listening."""
        for client in list(self._clients):
            self._loop.call_soon_threadsafe(client.writer.transport.abort)

    @property
    def num_clients(self) -> int:
        """How many connections are open."""
        return len(self._clients)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        if self._server is not None:
            return
        self._link = self._link or asyncio.Event()
        self._link.set()
        self._work = self._work or asyncio.Lock()
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self, *, last: bool = False) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for client in list(self._clients):
            client.writer.transport.abort()
        if last:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._clients:
            await asyncio.sleep(0.001)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        client = _Client(writer, self.num_connections)
        self._clients.add(client)
        try:
            await reader.readexactly(4)
            await _frame(reader)
            if self.is_mute:
                await reader.read()
            client.send(SERVER_VERSION, "20261124 12:00:00 UTC")
            while not writer.is_closing():
                self._take(client, (await _frame(reader)).decode().split("\0")[:-1])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._clients.discard(client)
            writer.close()

    def _take(self, client: _Client, fields: list[str]) -> None:
        """One message of a client. Those of accounts are answered as by an account without positions."""
        self.received.append(fields[0])
        match fields:
            case ["71", _, client_id, *_]:
                self._log_on(client, int(client_id))
            case ["61", *_]:
                client.send(62, 1)
            case ["5", *_]:
                client.send(53, 1)
            case ["99", *_]:
                client.send(102)
            case ["6", _, _, account, *_]:
                client.send(54, 1, account)
            case ["76", _, request, *_]:
                client.send(74, 1, request)
            case ["7", _, request, *_]:
                client.send(55, 1, request)
            case ["62", _, request, *_]:
                client.send(64, 1, request)
            case ["9", _, request, *described]:
                self._send_details(client, request, dict(zip(CONTRACT_FIELDS, described, strict=False)))
            case ["20", request, *described]:
                self._spawn(self._answer(client, int(request), described))
            case ["25", _, request, *_]:
                client.open.discard(int(request))
            case _:
                pass

    def _log_on(self, client: _Client, client_id: int) -> None:
        in_use = self.taken_client_ids | {other.client_id for other in self._clients}
        if client_id in in_use:
            client.tell(326, "Unable to connect as the client id is already in use. Retry with a unique client id.")
            client.writer.close()
            return
        client.client_id = client_id
        client.send(15, 1, self.accounts)
        client.send(9, 1, 1)
        for code, text in self.greeting:
            client.tell(code, text)
        if client.ordinal in self.dropped_logins:
            client.writer.close()

    def _send_details(self, client: _Client, request: str, described: dict[str, str]) -> None:
        candidates = self.market.candidates(described)
        if not candidates:
            client.tell(200, UNKNOWN, int(request))
        for listing in candidates:
            client.send(
                10, request, listing.symbol, "STK", "", 0, "", "SMART", listing.currency, listing.symbol, "NMS", "NMS",
                listing.con_id, 0.01, "", "LMT,MKT", "SMART", 1, 0, f"{listing.symbol} INC", listing.primary_exchange,
                "", "", "", "", "US/Eastern", "", "", "", 0, 0, 1, "", "", "", "", "COMMON", 1, 1, 100,
            )  # fmt: skip
        if candidates:
            client.send(52, 1, request)

    async def _answer(self, client: _Client, request: int, fields: list[str]) -> None:
        """Answer one historical request as the script says, or else as it is."""
        described = dict(zip(CONTRACT_FIELDS, fields, strict=False))
        _, end, bar_size, duration, regular_hours, what = fields[12:18]
        candidates = self.market.candidates(described)
        symbol = described["symbol"] or (candidates[0].symbol if candidates else "")
        now = time.monotonic()
        self.asked.append(
            Asked(
                symbol=symbol, con_id=described["con_id"], end=end, duration=duration, bar_size=bar_size, what=what,
                regular_hours=regular_hours, client_id=client.client_id, at=now,
            )
        )  # fmt: skip
        client.open.add(request)
        self.most_open = max(self.most_open, len(client.open))
        if reply := self._broken_rule(client, (*fields[:12], end, duration), now):
            self.num_broken_rules += 1
            self._end(client, request, reply)
            return
        reaction = self._scripts[symbol].popleft() if self._scripts[symbol] else None
        if client.ordinal in self.silent_connections or not await self._react(client, request, reaction):
            return
        assert self._work is not None
        async with self._work if self.is_serial else nullcontext():
            await asyncio.sleep(self.latency_seconds)
        if request not in client.open:
            return
        if len(candidates) != 1:
            text = AMBIGUOUS.format(symbol=symbol) if candidates else UNKNOWN
            self._end(client, request, Error(200, text))
            return
        rows = [] if isinstance(reaction, Empty) else self.market.rows(symbol, end, duration)
        if not rows and not isinstance(reaction, Empty):
            self._end(client, request, Error(162, NO_DATA.format(symbol=symbol)))
            return
        if isinstance(reaction, Short):
            rows = rows[-reaction.num_bars :]
        if isinstance(reaction, Garbled):
            rows = [row.replace(".", "?") for row in rows]
        client.open.discard(request)
        head = f"17\0{request}\0{end}\0{end}\0{len(rows)}\0"
        client.send_raw((head + "".join(rows)).encode())

    def _broken_rule(self, client: _Client, asked: tuple[str, ...], now: float) -> Error | None:
        if len(client.open) > MOST_OPEN:
            return Error(322, TOO_MANY)
        previous = self._last_asked.get(asked)
        self._last_asked[asked] = now
        return Error(162, PACING) if previous is not None and now - previous < self.identical_seconds else None

    async def _react(self, client: _Client, request: int, reaction: Reaction | None) -> bool:
        """Do what the script says; whether an answer follows."""
        match reaction:
            case Error():
                self._end(client, request, reaction)
            case Drop():
                client.writer.transport.abort()
            case Restart(seconds):
                self._spawn(self._restart(seconds))
            case LinkLost(seconds, requests_kept):
                await self._lose_link(seconds, requests_kept)
                return requests_kept
            case Notices(messages):
                for wait, code, text in messages:
                    await asyncio.sleep(wait)
                    client.tell(code, text)
                return True
            case Silence(messages):
                for code, text in messages:
                    client.tell(code, text)
            case _:
                assert self._link is not None
                await self._link.wait()
                return True
        return False

    async def _restart(self, seconds: float) -> None:
        await self._close()
        await asyncio.sleep(seconds)
        await self._listen()

    async def _lose_link(self, seconds: float, requests_kept: bool) -> None:
        """What is asked in the meantime waits for the link in any case; what was asked before is kept or lost."""
        assert self._link is not None
        self._link.clear()
        self._tell_all(1100, LOST)
        await asyncio.sleep(seconds)
        self._link.set()
        if not requests_kept:
            for client in self._clients:
                client.open.clear()
        code, words = (1102, "maintained") if requests_kept else (1101, "lost")
        self._tell_all(code, RESTORED.format(words=words) + ALL_FARMS)

    def _tell_all(self, code: int, text: str) -> None:
        for client in self._clients:
            client.tell(code, text)

    def _end(self, client: _Client, request: int, error: Error) -> None:
        client.open.discard(request)
        client.tell(error.code, error.text, request)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    return await reader.readexactly(length)

"""The bars of many tickers from one service: concurrent requests, repeated after temporary failures."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import urlsplit

import polars as pl
import requests

from ldtm_lib.errors import LdtmError, SourceError
from ldtm_lib.prices.sources.url.answer import bars_of_answer
from ldtm_lib.prices.sources.url.answer_cache import AnswerCache, conditions_of
from ldtm_lib.prices.sources.url.download import LATER, Answer, FailedRequest, NotModified, get, new_session
from ldtm_lib.prices.sources.url.pacing import RequestPacer
from ldtm_lib.prices.sources.url.secrets import HIDDEN, Secrets
from ldtm_lib.settings import UrlConfig
from ldtm_lib.url import UrlTemplate
from ldtm_lib.wording import duration_text

ACCEPTED = {"csv": "text/csv, text/plain;q=0.9, */*;q=0.8", "json": "application/json, */*;q=0.8"}


@dataclass(slots=True, kw_only=True)
class FetchedBars:
    """Result of a fetch, by ticker: bars as returned by `bars_of_answer`, or the failure."""

    bars: dict[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    failures: dict[str, LdtmError] = field(default_factory=dict[str, LdtmError])
    notes: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One web service, with its settings, secrets, cache and pacing."""

    config: UrlConfig
    template: UrlTemplate
    secrets: Secrets
    cache: AnswerCache
    pacer: RequestPacer

    @property
    def host(self) -> str:
        """The host, which names the service in messages."""
        return urlsplit(self.template.host).netloc

    def fetch(self, tickers: Sequence[str], symbols: Mapping[str, str], first: date, last: date) -> FetchedBars:
        """Send one request per ticker; a failure affects only its ticker. `symbols` has the spellings that differ."""
        fetched = FetchedBars()
        pool = ThreadPoolExecutor(max_workers=self.config.requests_in_flight, thread_name_prefix="url")
        with self.secrets.removed_from_log(), new_session() as session:
            try:
                pending = {
                    ticker: pool.submit(self._bars, session, ticker, symbols.get(ticker, ticker), first, last)
                    for ticker in tickers
                }
                for ticker, outcome in pending.items():
                    try:
                        fetched.bars[ticker], note = outcome.result()
                        fetched.notes += [note] if note else []
                    except LdtmError as error:
                        fetched.failures[ticker] = error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        fetched.notes = list(dict.fromkeys(fetched.notes))
        return fetched

    def _bars(
        self, session: requests.Session, ticker: str, symbol: str, first: date, last: date
    ) -> tuple[pl.DataFrame, str | None]:
        """The bars of one ticker, and a note if its answer could not be stored; raises LdtmError."""
        hidden = dict.fromkeys(self.secrets.values, HIDDEN)
        url, shown = (
            self.template.fill(ticker=symbol, first=first, last=last, environ=values)
            for values in (self.secrets.values, hidden)
        )
        stored = self.cache.read(ticker, shown)
        answer = self._answer(session, ticker, url, stored)
        bars = bars_of_answer(f"the answer of {self.host} for {ticker}", answer, self.config, self.secrets)
        if answer is stored or not (answer.etag or answer.last_modified):
            return bars, None
        try:
            self.cache.write(ticker, shown, answer)
        except OSError as error:
            return (
                bars,
                f"answers cannot be cached in {self.cache.folder} ({error.strerror}); each fetch downloads them again",
            )
        return bars, None

    def _answer(self, session: requests.Session, ticker: str, url: str, stored: Answer | None) -> Answer:
        """The answer to a request, the stored one if it is still valid; raises SourceError."""
        conditions = conditions_of(stored)
        headers = {header: self.secrets.values[name] for header, name in self.config.headers.items()}
        for attempt in range(1, self.config.num_attempts + 1):
            self._require_open(ticker)
            self.pacer.wait_for_turn(self.config.requests_per_minute)
            self._require_open(ticker)
            outcome = get(
                session,
                url,
                headers=headers,
                plain_headers={"Accept": ACCEPTED[self.config.format], **conditions},
                secrets=self.secrets,
                timeout_seconds=self.config.timeout_seconds,
            )
            if isinstance(outcome, NotModified):
                outcome = stored or FailedRequest(
                    text="answers that nothing has changed, but no answer is stored", may_pass=True
                )
                conditions = {"Cache-Control": "no-cache"}
            if isinstance(outcome, Answer):
                self.pacer.note_answer()
                return outcome
            self._note(ticker, outcome, attempt)
        raise AssertionError("num_attempts is at least 1")

    def _require_open(self, ticker: str) -> None:
        """Raise SourceError while requests to the service are blocked."""
        if reason := self.pacer.blocked:
            raise SourceError(f"{ticker}: not requested, since {self.host} {reason}; {LATER}")

    def _note(self, ticker: str, refusal: FailedRequest, attempt: int) -> None:
        """Wait before the next attempt; raises SourceError if there is none."""
        if refusal.is_silence:
            self.pacer.note_silence(refusal.text)
        else:
            self.pacer.note_answer()
        problem = f"{ticker}: {self.host} {refusal.text}"
        patience = self.pacer.patience
        pause = max(patience.after(attempt), refusal.wait_seconds or 0.0)
        if pause > patience.longest_pause:
            asks = f"asks to wait {duration_text(pause)}"
            self.pacer.block(pause, asks)
            raise SourceError(f"{problem} and {asks}; {refusal.remedy}")
        if not refusal.may_pass or attempt == self.config.num_attempts:
            tried = f", after {attempt} attempts" if attempt > 1 else ""
            raise SourceError(f"{problem}{tried}; {refusal.remedy}")
        if refusal.wait_seconds is not None:
            self.pacer.hold(pause)
        else:
            time.sleep(pause)

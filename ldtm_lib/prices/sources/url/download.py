"""A single GET request: redirects, time limit and failures."""

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from ldtm_lib.installation import installed_version
from ldtm_lib.prices.sources.url.secrets import Secrets

MAX_REDIRECTS = 5
MAX_BODY_BYTES = 64 * 2**20
"""Twenty years of daily bars take less than 1 MiB."""
CHUNK_BYTES = 2**16
SHOWN_CHARACTERS = 160
TOO_MANY_REQUESTS, UNAVAILABLE = 429, 503
MAY_PASS = {408, TOO_MANY_REQUESTS, 500, 502, UNAVAILABLE, 504}
"""Statuses that may be temporary, so that the request is repeated."""
NOT_MODIFIED = 304
REMEDIES = {
    401: "check the key in the environment variable that [url] names",
    403: "check the key in the environment variable that [url] names, and what its plan allows",
    404: "name the service's spelling of the ticker under [symbols], or correct url.url",
    410: "name the service's spelling of the ticker under [symbols], or correct url.url",
    TOO_MANY_REQUESTS: "set url.requests_per_minute to what the service allows",
}
LATER = "try again later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of the service with status 200."""

    body: bytes
    content_type: str = ""
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotModified:
    """An answer with status 304: the stored answer is still valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRequest:
    """The reason why there is no answer, and the remedy; contains no secret."""

    text: str
    remedy: str = LATER
    may_pass: bool = False
    """True if another attempt may succeed."""
    is_silence: bool = False
    """True if the service was not reached or did not answer in time."""
    wait_seconds: float | None = None
    """The wait that the service asks for."""


def new_session() -> requests.Session:
    """A session that keeps no cookies, and takes proxies and certificates from the environment but no passwords."""
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.auth = _unchanged
    session.headers["User-Agent"] = f"ldtm/{installed_version()}"
    return session


def get(
    session: requests.Session,
    url: str,
    *,
    headers: Mapping[str, str],
    plain_headers: Mapping[str, str],
    secrets: Secrets,
    timeout_seconds: float,
) -> Answer | NotModified | FailedRequest:
    """Send one request. `headers` may hold secrets and are sent only to the host of `url`, `plain_headers` to any."""
    deadline = time.monotonic() + timeout_seconds
    host = urlsplit(url).netloc
    try:
        for _ in range(MAX_REDIRECTS + 1):
            own: Mapping[str, str] = headers if urlsplit(url).netloc == host else {}
            with session.get(
                url, headers={**own, **plain_headers}, allow_redirects=False, stream=True, timeout=_left(deadline)
            ) as response:
                if not response.is_redirect:
                    return _outcome(response, deadline, secrets)
                target = urljoin(url, response.headers["Location"])
            if refusal := _refused_redirect(url, target, secrets):
                return refusal
            url = target
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        failure = _cause(error)
    else:
        return FailedRequest(text=f"redirects more than {MAX_REDIRECTS} times", remedy="correct url.url")
    return _failed(failure, timeout_seconds, secrets)


def excerpt(body: bytes, secrets: Secrets) -> str:
    """The beginning of an answer on one line, for a message."""
    text = " ".join(body[: 8 * SHOWN_CHARACTERS].decode("utf-8", "replace").split())
    text = secrets.removed_from("".join(character for character in text if character.isprintable()))
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def is_web_page(answer: Answer) -> bool:
    """Return whether an answer is HTML."""
    start = answer.body[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return answer.content_type.startswith("text/html") or start.startswith((b"<!doctype html", b"<html"))


def _outcome(response: requests.Response, deadline: float, secrets: Secrets) -> Answer | NotModified | FailedRequest:
    if response.status_code == NOT_MODIFIED:
        return NotModified()
    body = _read(response, deadline)
    if body is None:
        return FailedRequest(text=f"sent more than {MAX_BODY_BYTES // 2**20} MiB", remedy="limit url.url to one ticker")
    answer = Answer(
        body=body,
        content_type=response.headers.get("Content-Type", "").lower(),
        etag=response.headers.get("ETag"),
        last_modified=response.headers.get("Last-Modified"),
    )
    status = response.status_code
    if status == requests.codes.ok:
        return answer
    said = f": {excerpt(body, secrets)}" if body.strip() and not is_web_page(answer) else ""
    return FailedRequest(
        text=f"answers with the status {status} {response.reason or ''}".rstrip() + said,
        remedy=REMEDIES.get(status, LATER if status in MAY_PASS else "correct url.url"),
        may_pass=status in MAY_PASS,
        wait_seconds=_retry_after(response) if status in (TOO_MANY_REQUESTS, UNAVAILABLE) else None,
    )


def _read(response: requests.Response, deadline: float) -> bytes | None:
    """The whole body; None if it is too long. Data is read as it arrives, so that the time limit applies."""
    body = bytearray()
    while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
        body += chunk
        _left(deadline)
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _left(deadline: float) -> float:
    """The seconds until a deadline; raises requests.Timeout after it."""
    if (seconds := deadline - time.monotonic()) <= 0:
        raise requests.Timeout
    return seconds


def _retry_after(response: requests.Response) -> float | None:
    """The wait of the header Retry-After, a number of seconds or a date; None if it is absent or invalid."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until, sent = parsedate_to_datetime(text), parsedate_to_datetime(response.headers.get("Date", ""))
        return max(0.0, (until - sent).total_seconds())
    except (TypeError, ValueError):
        return None


def _refused_redirect(url: str, target: str, secrets: Secrets) -> FailedRequest | None:
    """The failure for a redirect that must not be followed; None if it may be."""
    before, after = urlsplit(url), urlsplit(target)
    where = f"{after.scheme}://{after.netloc.rpartition('@')[2]}"
    if after.scheme not in ("http", "https") or (before.scheme == "https" and after.scheme == "http"):
        return FailedRequest(
            text=secrets.removed_from(f"redirects from {before.scheme} to {where}, which is not followed"),
            remedy="write the https address that the service documents into url.url",
        )
    if before.netloc != after.netloc and secrets.are_in(target):
        return FailedRequest(
            text=secrets.removed_from(f"redirects to {where} with the key in the address, which is not followed"),
            remedy="write that host into url.url if the service documents it",
        )
    return None


def _failed(failure: BaseException, timeout_seconds: float, secrets: Secrets) -> FailedRequest:
    """The outcome of an exception. Its text may show the whole address, so that secrets are removed."""
    if isinstance(failure, ssl.SSLCertVerificationError):
        return FailedRequest(
            text=f"has a certificate that is not trusted ({failure.verify_message})",
            remedy="correct the host in url.url, or name the authority's certificate in REQUESTS_CA_BUNDLE",
        )
    if isinstance(failure, (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)):
        text = f"has not answered completely within {timeout_seconds:g} s"
        return FailedRequest(text=text, remedy=f"{LATER}, or raise url.timeout_seconds", may_pass=True, is_silence=True)
    if isinstance(failure, urllib3.exceptions.IncompleteRead):
        return FailedRequest(text=f"broke off in the middle of its answer ({failure})", may_pass=True)
    if isinstance(failure, (OSError, urllib3.exceptions.HTTPError)) and not isinstance(failure, ssl.SSLError):
        reason = getattr(failure, "strerror", None) or secrets.removed_from(str(failure)) or type(failure).__name__
        return FailedRequest(text=f"cannot be reached ({reason})", may_pass=True, is_silence=True)
    return FailedRequest(
        text=f"cannot be queried ({type(failure).__name__}: {secrets.removed_from(str(failure))})",
        remedy="correct url.url",
    )


def _cause(error: BaseException) -> BaseException:
    """The innermost of nested errors of the HTTP client."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((part for part in error.args if isinstance(part, BaseException)), error.__cause__)
        if inner is None:
            return error
        error = inner


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Replace the look-up of a password in ~/.netrc, which would override a header of the settings."""
    return request

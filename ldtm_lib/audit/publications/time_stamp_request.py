"""One request to a time stamp authority over HTTP (RFC 3161, section 3.4)."""

import http.client
import time
import urllib.error
import urllib.request

from ldtm_lib.errors import PublicationFailed

QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"
_MOST_BYTES = 1 << 20
"""A reply has a few thousand."""


def ask(url: str, query: bytes, *, timeout_seconds: float) -> bytes:
    """The authority's reply, unchanged; raises PublicationFailed when there is none within the timeout."""
    request = urllib.request.Request(
        url, data=query, headers={"Content-Type": QUERY, "Accept": REPLY, "User-Agent": "ldtm"}
    )
    deadline = time.monotonic() + timeout_seconds
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as response:
            kind = response.headers.get_content_type()
            if kind != REPLY:
                raise PublicationFailed(f"{url} answers with {kind}, not {REPLY}; check publish.timestamp_url")
            return _read(response, deadline)
    except urllib.error.HTTPError as error:
        error.close()
        raise PublicationFailed(
            f"{url} answers HTTP {error.code} {error.reason}; try again, or check publish.timestamp_url"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            raise PublicationFailed(
                f"{url} has not answered within {timeout_seconds:g} s; try again, or raise "
                "publish.timestamp_timeout_seconds"
            ) from None
        raise PublicationFailed(
            f"{url} cannot be reached: {reason}; try again, or check publish.timestamp_url"
        ) from None


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """Read the body; the deadline also ends a reply that arrives slowly."""
    parts: list[bytes] = []
    size = 0
    while part := response.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise TimeoutError
        if size > _MOST_BYTES:
            raise OSError(f"the reply has more than {_MOST_BYTES} bytes")
    return b"".join(parts)

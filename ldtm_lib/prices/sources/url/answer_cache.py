"""Cache of the newest answer for each ticker on disk, so that an unchanged answer is not sent again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ldtm_lib.atomic_io import write_whole
from ldtm_lib.file_names import ticker_file_name
from ldtm_lib.prices.sources.url.download import Answer


@dataclass(frozen=True, slots=True)
class AnswerCache:
    """A folder with one file per ticker: a line of JSON about the answer, and its body."""

    folder: Path

    def read(self, ticker: str, url: str) -> Answer | None:
        """The stored answer to the same request; None if there is none or its file is damaged."""
        try:
            head, _, body = self._path(ticker).read_bytes().partition(b"\n")
            about = json.loads(head)
            if about["url"] != url or about["sha256"] != hashlib.sha256(body).hexdigest():
                return None
            return Answer(
                body=body,
                content_type=about["content_type"],
                etag=about["etag"],
                last_modified=about["last_modified"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, ticker: str, url: str, answer: Answer) -> None:
        """Replace the stored answer of a ticker; `url` must hold no secret. Raises OSError if the disk is full."""
        about = {
            "url": url,
            "sha256": hashlib.sha256(answer.body).hexdigest(),
            "content_type": answer.content_type,
            "etag": answer.etag,
            "last_modified": answer.last_modified,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(ticker), json.dumps(about).encode() + b"\n" + answer.body)

    def _path(self, ticker: str) -> Path:
        return self.folder / f"{ticker_file_name(ticker)}.answer"


def conditions_of(stored: Answer | None) -> Mapping[str, str]:
    """The conditional-request headers for a stored answer."""
    if stored is None:
        return {}
    named = {"If-None-Match": stored.etag, "If-Modified-Since": stored.last_modified}
    return {name: value for name, value in named.items() if value}

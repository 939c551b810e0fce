"""Interrupts: the first Ctrl-C or SIGTERM ends a command in an orderly way, the second one at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTHING_CHANGED = "It changes nothing, so it can be run again at any time."
ONE_TRANSACTION = (
    "Its changes are one transaction: they are recorded as a whole or not at all. Run it again; what is recorded "
    "already stays as it is."
)
BY_COMMAND = {
    "demo": "Finished stages, networks and forecasts are kept. `ldtm demo` goes on from there.",
    "bootstrap": "Finished stages, networks and forecasts are kept. `ldtm bootstrap` goes on from there.",
    "train": "Networks that were trained are kept, unfinished ones are not. Run it again: it trains the rest.",
    "run": "Bars and rows that were recorded stay. Run it again: it does what is missing.",
    "init": "Files that were written stay. Run it again in the same folder.",
    "up": "What was started may still run. `ldtm up` goes on from there, `ldtm down` stops it.",
    "down": "What was stopped stays stopped. `ldtm down` stops the rest.",
    "doctor": NOTHING_CHANGED,
    "settings": NOTHING_CHANGED,
    "status": NOTHING_CHANGED,
    "forecasts": NOTHING_CHANGED,
    "leaderboard": NOTHING_CHANGED,
    "logs": NOTHING_CHANGED,
    "replay": NOTHING_CHANGED,
    "placebo": "A calibration writes nothing to the database. Run it again from its start.",
    "retention": "What was purged is gone, and the record is untouched. Run it again: it purges the rest.",
    "fillback": ONE_TRANSACTION,
    "registry": ONE_TRANSACTION,
    "prices": "Bars are recorded in one transaction per import: as a whole or not at all. Run it again.",
    "audit": "A seal is made as a whole or not at all, and publications catch up with the next seal. Run it again.",
    "alerts": "A notification that was sent stays sent. Run it again.",
    "db": "Every migration is one transaction. Run it again: it applies the rest.",
}
"""What an interrupted command keeps and how to go on, by the first word of the command."""


class Interrupted(KeyboardInterrupt):
    """A signal asks this process to end; its number is the only argument."""


@contextmanager
def handled_signals() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into Interrupted; a second one ends the process. An ignored SIGINT stays ignored.

    Only the main thread may handle signals; in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class SignalWatch:
    """Signals that arrive while other code handles them, such as Dagster's execution: a second one ends the process."""

    def __init__(self) -> None:
        self.received: int | None = None
        """The first signal; None while there was none."""

    def read(self, pipe: int) -> None:
        """Take note of every signal whose number comes through a pipe, until it is closed."""
        while numbers := os.read(pipe, 1):
            if numbers[0] not in SIGNALS:
                continue
            if self.received is not None:
                os._exit(128 + numbers[0])
            self.received = numbers[0]


@contextmanager
def watched_signals() -> Iterator[SignalWatch]:
    """Watch SIGINT and SIGTERM beside whoever handles them. Only the main thread can; another one sees no signal."""
    watch = SignalWatch()
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    thread = threading.Thread(target=watch.read, args=(reading,), name="signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield watch
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        thread.join()
        os.close(reading)


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """The exit status of an interrupted process: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (interrupt.args[0] if isinstance(interrupt, Interrupted) else signal.SIGINT)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del frame
    for each in SIGNALS:
        signal.signal(each, _end_at_once)
    raise Interrupted(number)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    del frame
    os._exit(128 + number)

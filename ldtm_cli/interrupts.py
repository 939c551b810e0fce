"""Interrupts: the first Ctrl-C or SIGTERM ends a command in an orderly way, the second one at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTHING_CHANGED = "The command changes nothing and can be run again at any time."
ONE_TRANSACTION = (
    "Its changes are one transaction: either all of them are recorded or none. Run the command again; recorded data "
    "stays unchanged."
)
BY_COMMAND = {
    "demo": "Finished stages, networks and forecasts are kept. Run `ldtm demo` again to resume.",
    "bootstrap": "Finished stages, networks and forecasts are kept. Run `ldtm bootstrap` again to resume.",
    "train": "Trained networks are kept, unfinished ones are not. Run the command again to train the rest.",
    "run": "Recorded bars and rows are kept. Run the command again to complete the run.",
    "init": "Written files are kept. Run the command again in the same folder.",
    "up": "Some processes may be running. Run `ldtm up` again to start the rest, or `ldtm down` to stop them.",
    "down": "Some processes may still be running. Run `ldtm down` again to stop them.",
    "dashboard": "The dashboard was not started, and nothing was changed. Run the command again.",
    "serve": "The process was not started. Run the command again.",
    "doctor": NOTHING_CHANGED,
    "settings": NOTHING_CHANGED,
    "status": NOTHING_CHANGED,
    "forecasts": NOTHING_CHANGED,
    "forecast": NOTHING_CHANGED,
    "export": "Exported files are kept. Run the command again to export the rest.",
    "leaderboard": NOTHING_CHANGED,
    "logs": NOTHING_CHANGED,
    "replay": NOTHING_CHANGED,
    "placebo": "A calibration writes nothing to the database. Run the command again; it starts over.",
    "retention": "Purged data is gone, and the record is unchanged. Run the command again to purge the rest.",
    "fillback": ONE_TRANSACTION,
    "registry": ONE_TRANSACTION,
    "prices": "An import is one transaction: either all bars are recorded or none. Run the command again.",
    "audit": "A seal is recorded whole or not at all; publications catch up with the next seal. Run the command again.",
    "alerts": "Notifications that were sent are not withdrawn. Run the command again.",
    "backup": "No archive was written, and nothing else changed. Run the command again.",
    "restore": "The database holds the old record or the restored one, whole. Run the command again to complete it.",
    "db": "Every migration is one transaction. Run the command again to apply the rest.",
}
"""Messages after an interruption, by command: the data that is kept, and how to continue."""


class Interrupted(KeyboardInterrupt):
    """A signal requested the end of this process; its number is the only argument."""


@contextmanager
def handled_signals() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into Interrupted; a second one ends the process. An ignored SIGINT stays ignored.

    Only the main thread can handle signals; in other threads this has no effect.
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
    """Record of signals that other code, such as Dagster's execution, handles; a second signal ends the process."""

    def __init__(self) -> None:
        self.received: int | None = None
        """Number of the first signal; None before it."""

    def read(self, pipe: int) -> None:
        """Read signal numbers from a pipe until it is closed; the second one ends the process."""
        while numbers := os.read(pipe, 1):
            if numbers[0] not in SIGNALS:
                continue
            if self.received is not None:
                os._exit(128 + numbers[0])
            self.received = numbers[0]


@contextmanager
def watched_signals() -> Iterator[SignalWatch]:
    """Watch SIGINT and SIGTERM without replacing their handlers. Outside of the main thread, no signal is seen."""
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

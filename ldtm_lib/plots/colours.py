"""The few colours of all charts: distinguishable in print and by colour-blind readers, dark on white."""

import numpy as np

BLACK, GREY, RED = "#000000", "#8f8f8f", "#b3261e"
BLUE, ORANGE, GREEN, VIOLET, OCHRE, TEAL = "#17508f", "#c8600c", "#1b7f4d", "#8a3a94", "#8c6d00", "#0f8b8d"
WHITE, PALE_GREY, PALE_BLUE = "#ffffff", "#e6e6e6", "#a9c1de"
SERIES = (BLUE, ORANGE, GREEN, VIOLET, OCHRE, TEAL)
"""For lines of equal rank, in this order."""
NUM_TINTS = 4
"""Steps from a dark colour to white, for the smooth edges of lines."""


def palette() -> list[int]:
    """Red, green and blue of every colour, and of the tints of the dark ones, one after the other.

    With a palette a PNG has a third of the bytes that it has in full colour.
    """
    dark = _channels(BLACK, GREY, RED, *SERIES)
    shares = np.arange(1, NUM_TINTS + 1)[:, None, None] / NUM_TINTS
    tints = np.rint(255 + (dark - 255) * shares).astype(int)
    return [*_channels(WHITE, PALE_GREY, PALE_BLUE).ravel().tolist(), *tints.ravel().tolist()]


def _channels(*colours: str) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in colours], dtype=np.int64)

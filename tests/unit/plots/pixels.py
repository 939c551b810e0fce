"""What a test sees of a picture: its pixels and where a colour is in them."""

import io

import numpy as np
from PIL import Image


def pixels(png: bytes) -> np.ndarray:
    """(height, width, 3) of a picture."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def where(png: bytes, colour: str) -> np.ndarray:
    """(height, width), whether a pixel has exactly this colour."""
    return (pixels(png) == [int(colour[at : at + 2], 16) for at in (1, 3, 5)]).all(axis=2)

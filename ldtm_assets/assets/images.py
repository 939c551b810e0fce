"""Pictures on the pages: PNGs inside markdown metadata, so that no file has to be kept or served."""

import base64

import dagster as dg


def picture(png: bytes, *, of: str) -> dg.MetadataValue:
    """A picture that the pages show, and what it is of for those who cannot see it."""
    return dg.MetadataValue.md(f"![{of}](data:image/png;base64,{base64.b64encode(png).decode()})")

"""The source that a configuration names."""

from ldtm_lib.config import Settings
from ldtm_lib.prices.sources.files import FilesSource
from ldtm_lib.prices.sources.protocol import PriceSource
from ldtm_lib.prices.sources.sample import SampleSource


def open_source(settings: Settings) -> PriceSource:
    """The source of a configuration; raises ConfigurationError when it is not described in full."""
    if settings.source.kind == "sample":
        return SampleSource()
    return FilesSource(settings.path.parent / settings.source.folder, settings.source.basis)

"""The source that a configuration names."""

from ldtm_lib.config import Settings
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.prices.sources.files import FilesSource
from ldtm_lib.prices.sources.protocol import PriceSource
from ldtm_lib.prices.sources.sample import SampleSource


def open_source(settings: Settings) -> PriceSource:
    """The source of a configuration; raises ConfigurationError when it is not described in full."""
    if settings.source.kind == "sample":
        return SampleSource()
    folder = settings.path.parent / settings.source.folder
    if settings.source.basis is None:
        raise ConfigurationError(
            f"source.basis is not set: say whether the files in {folder} are split-adjusted; "
            'write basis = "adjusted" or basis = "raw" under [source]'
        )
    if not folder.is_dir():
        raise ConfigurationError(f"source.folder is {folder}, which is no folder; create it or name another one")
    return FilesSource(folder, settings.source.basis)

"""The source that a configuration names."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.prices.sources.files import FilesSource
from ldtm_lib.prices.sources.ib.connection import Address, address_of
from ldtm_lib.prices.sources.ib.pacing import Pacer
from ldtm_lib.prices.sources.ib.source import IbSource
from ldtm_lib.prices.sources.protocol import PriceSource
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import Settings


def open_source(settings: Settings, environ: Mapping[str, str], moment: datetime) -> PriceSource:
    """The source of a configuration; raises ConfigurationError when it is not described in full.

    The environment tells where TWS is (`ib` only); `moment` (aware) is when it is asked, by the database's clock.
    """
    if settings.source.kind == "sample":
        return SampleSource()
    if settings.source.kind == "ib":
        address = address_of(environ)
        return IbSource(
            address=address,
            config=settings.ib,
            contracts=settings.contracts,
            calendar=exchange_calendar(),
            moment=moment,
            pacer=_pacer(address),
        )
    folder = settings.path.parent / settings.source.folder
    if settings.source.basis is None:
        raise ConfigurationError(
            f"source.basis is not set: say whether the files in {folder} are split-adjusted; "
            'write basis = "adjusted" or basis = "raw" under [source]'
        )
    if not folder.is_dir():
        raise ConfigurationError(f"source.folder is {folder}, which is no folder; create it or name another one")
    return FilesSource(folder, settings.source.basis, moment)


@cache
def _pacer(address: Address) -> Pacer:
    """What one TWS was asked by this process, so that a second fetch keeps the rules too."""
    return Pacer()

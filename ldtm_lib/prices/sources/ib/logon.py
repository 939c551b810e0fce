"""One logon and nothing else, to learn whether TWS lets LDTM in."""

import logging

from ldtm_lib.config import IbConfig
from ldtm_lib.prices.sources.ib.address import Address
from ldtm_lib.prices.sources.ib.client import client_module, load_client
from ldtm_lib.prices.sources.ib.event_loop_thread import run_apart
from ldtm_lib.prices.sources.ib.pacing import Patience
from ldtm_lib.prices.sources.ib.reconnect import Line


def log_on_once(address: Address, config: IbConfig) -> None:
    """Log on by the first free client id and leave; raises NotConnected, with the remedy, when there is no way in.

    Raises ConfigurationError when no client of TWS is installed.
    """

    logging.getLogger(client_module()).setLevel(logging.CRITICAL)  # it prints what is raised here in better words

    async def once() -> None:
        line = Line(load_client(), address, config, Patience(first_connection=0.0))
        try:
            await line.session()
        finally:
            await line.close()

    run_apart(once)

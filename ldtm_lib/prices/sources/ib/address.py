"""Where TWS or Gateway listens, and as whom it is asked: from the environment, never from a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ldtm_lib.errors import ConfigurationError

HOST_VARIABLE = "LDTM_IB_HOST"
PORT_VARIABLE = "LDTM_IB_PORT"
CLIENT_ID_VARIABLE = "LDTM_IB_CLIENT_ID"
ACCOUNT_VARIABLE = "LDTM_IB_ACCOUNT"
MOST_PORTS = 65_535
MOST_CLIENT_IDS = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One TWS or Gateway. Ports by default: TWS 7496 live and 7497 paper, Gateway 4001 and 4002."""

    host: str = "127.0.0.1"
    port: int = 7497
    client_id: int = 17
    """The first that is tried; while it is in use, the next ones are."""
    account: str | None = field(default=None, repr=False)
    """An account that the login must manage, so that a paper login is not taken for the other one. Never shown."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def address_of(environ: Mapping[str, str]) -> Address:
    """The address that the environment names; raises ConfigurationError for a number that is none."""
    plain = Address()
    return Address(
        host=environ.get(HOST_VARIABLE) or plain.host,
        port=_number(environ, PORT_VARIABLE, plain.port, least=1, most=MOST_PORTS),
        client_id=_number(environ, CLIENT_ID_VARIABLE, plain.client_id, least=0, most=MOST_CLIENT_IDS),
        account=environ.get(ACCOUNT_VARIABLE) or None,
    )


def _number(environ: Mapping[str, str], name: str, otherwise: int, *, least: int, most: int) -> int:
    text = environ.get(name)
    if not text:
        return otherwise
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ConfigurationError(f"{name} is {text!r}; it must be a whole number from {least} to {most}")
    return int(text)

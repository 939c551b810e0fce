"""Web addresses and hosts, for settings that name one."""

import ipaddress
from urllib.parse import urlsplit


def web_host(url: str) -> str | None:
    """Scheme, host and port of a web address, without its path, which may be a secret; None for what is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or not url.isascii():
        return None
    return f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port else "")


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

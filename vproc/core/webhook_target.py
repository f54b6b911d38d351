"""Where a webhook may go: public addresses, by HTTPS, and what the operator allows by name. Nothing here resolves a name.

A callback's address is a stranger's, and the daemon stands inside a network: so every address that a name resolves to is looked
at here, and the one that was looked at is the one that is connected to.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

_PORTS = frozenset({443, 8443})
# Each holds an IPv4 address in some of its bits, which `is_global` does not look at: NAT64 (RFC 6052, 8215), 6to4, Teredo.
_NAT64 = IPv6Network("64:ff9b::/96")
# Of the last three older tables know nothing: NAT64 of one's own network, documentation, site-local.
_REFUSED = tuple(map(IPv6Network, ("2002::/16", "2001::/32", "64:ff9b:1::/48", "3fff::/20", "fec0::/10")))
_LONGEST = 2048


class TargetError(ValueError):
    """Nothing is sent there. The words say why and what is taken."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address that may be tried. ``trusted``: the operator named its host, and any address of it will do."""

    url: str
    host: str
    port: int
    trusted: bool


def read_target(url: str, allowed_hosts: Collection[str] = ()) -> Target:
    """The address of a callback. ``allowed_hosts``: names and addresses that the operator allows, private ones and plain HTTP
    too. Raises `TargetError`."""
    if len(url) > _LONGEST:
        raise TargetError(f"it is longer than {_LONGEST} characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise TargetError(f"it is no address: {error}") from None
    host = (parts.hostname or "").lower().rstrip(".")
    if not host or parts.scheme not in {"https", "http"}:
        raise TargetError("takes https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise TargetError("takes no name and no password")
    trusted = host in {name.lower() for name in allowed_hosts}
    if parts.scheme != "https" and not trusted:
        raise TargetError("takes https://")
    port = port or (443 if parts.scheme == "https" else 80)
    if port not in _PORTS and not trusted:
        raise TargetError(f"takes the port 443 or 8443, not {port}")
    if not trusted and (literal := _literal(host)) is not None:
        check_address(literal)
    return Target(url, host, port, trusted)


def check_address(address: IPv4Address | IPv6Address) -> None:
    """Return for an address that everybody on the internet may reach. Raises `TargetError` for any other."""
    real = embedded(address)
    if not real.is_global or real.is_multicast or real.is_reserved:
        raise TargetError(f"{address} is no public address")
    if isinstance(real, IPv6Address) and any(real in network for network in _REFUSED):
        raise TargetError(f"{address} is an address of one network, or stands for another")


def embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one is another way to write or to reach; else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    if int(address) >> 32 == 0 and int(address) > 1:
        return IPv4Address(int(address))  # the old "IPv4-compatible" form
    return address


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address where the host is one, in any of the forms that a resolver takes: ``127.1``, ``0x7f000001``, ``2130706433``."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    numbers = host.split(".")
    if len(numbers) > 4 or not all(numbers):  # noqa: PLR2004 - an IPv4 address has four
        return None
    try:
        values = [int(number, _base(number)) for number in numbers]
    except ValueError:
        return None
    *first, last = values
    if any(not 0 <= value <= 255 for value in first) or not 0 <= last < 256 ** (5 - len(values)):  # noqa: PLR2004 - bytes
        raise TargetError(f"{host[:60]} is no address")
    return IPv4Address(sum(value << (24 - 8 * place) for place, value in enumerate(first)) + last)


def _base(number: str) -> int:
    """As inet_aton reads it."""
    if number.startswith("0x"):
        return 16
    return 8 if number.startswith("0") and number != "0" else 10

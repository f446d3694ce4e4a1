"""Addresses of networks as they are written in XML, and what they come to."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from culvert.domain.scalars import Pattern
from culvert.ground import errors

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network

# ``virbr%d`` asks for a free number. These names go into rules and configurations unquoted.
BRIDGE_NAME = Pattern(r"[A-Za-z0-9_.@+-]{1,15}(?:%d)?[A-Za-z0-9_.@+-]*", "name of a bridge")
DEVICE = Pattern(r"[A-Za-z0-9_.@+-]{1,15}", "name of a network device")
WORD = Pattern(r"[^\s,\0]+", "word without commas")
LINE = Pattern(r"[^\n\r\0]+", "line of text")
HOST_NAME = Pattern(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "name of a host")
DOMAIN_NAME = Pattern(r"[A-Za-z0-9_.-]+", "name of a domain")
CLIENT_ID = Pattern(r"[0-9a-fA-F:]+", "client's id")
SERVICE = Pattern(r"[A-Za-z0-9_+/*-]{1,254}", "service")
PROTOCOL = Pattern(r"[A-Za-z0-9+/-]+", "protocol")


@dataclass(frozen=True, slots=True)
class AddressScalar:
    """An address of the network layer, kept in its shortest spelling. ``version`` 0: of either."""

    version: int = 0

    def read(self, text: str, where: str) -> str:
        try:
            found = ipaddress.ip_address(text.strip())
        except ValueError:
            raise errors.XMLError(f"XML error: {where}: '{text}' is not an address") from None
        if self.version not in (0, found.version) or "%" in text:
            raise errors.XMLError(f"XML error: {where}: '{text}' is not an IPv{self.version or 6} address")
        return str(found)

    def write(self, value: str) -> str:
        return value

    def describe(self) -> str:
        return f"IPv{self.version} address" if self.version else "IPv4 or IPv6 address"


ADDRESS = AddressScalar()
IPV4 = AddressScalar(4)


def multicast(mac: str) -> bool:
    """Whether a MAC address names a group."""
    return bool(int(mac[:2], 16) & 1)


def prefix(address: str, netmask: str | None, given: int | None) -> int:
    """The length of the network's part: of the mask, as given, or as the address's class has it.

    Raises ``errors.InternalError`` for a mask that is none. Source: util/virsocketaddr.c, virSocketAddrGetIPPrefix.
    """
    parsed = ipaddress.ip_address(address)
    if given:
        return given
    if netmask is not None:
        bits = f"{int(ipaddress.ip_address(netmask)):032b}"
        if re.fullmatch("1*0*", bits) is None:
            raise errors.InternalError(f"internal error: '{netmask}' is no mask of a network")
        return bits.count("1")
    if parsed.version == 6:
        return 64
    first = int(parsed) >> 24
    return 8 if first < 128 else 16 if first < 192 else 24 if first < 224 else 0


def subnet(address: str, length: int) -> Subnet:
    """The network that ``address`` is in."""
    return ipaddress.ip_network(f"{address}/{length}", strict=False)


def reverse_domain(address: str, length: int) -> str:
    """The domain in which a network's addresses are looked up. Raises ``errors.ConfigUnsupported``.

    Source: util/virsocketaddr.c, virSocketAddrPTRDomain.
    """
    parsed = ipaddress.ip_address(address)
    version, step = parsed.version, 8 if parsed.version == 4 else 4
    if length == 0 or length >= parsed.max_prefixlen or length % step:
        raise errors.ConfigUnsupported(
            f"PTR domain for IPv{version} network with prefix {length} cannot be automatically created"
        )
    parts = str(parsed).split(".") if version == 4 else list(parsed.exploded.replace(":", ""))
    tail = "in-addr.arpa" if version == 4 else "ip6.arpa"
    return ".".join([*reversed(parts[: length // step]), tail])

"""What a network's dnsmasq is told: its configuration and the files that it reads again when it is told to.

Source: network/bridge_driver.c of libvirt 9.0 (networkDnsmasqConfContents); dnsmasq(8).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from culvert.domain.network import addresses
from culvert.domain.network.definition import DhcpHost, Dns, DnsSrv, LeaseTime, NetworkDef, NetworkIp

HEAD = """\
## This file is made by culvert, and made anew with every start of the network: changes to it are lost.
## Change the network instead: virsh net-edit {name}
"""


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """Of one network's dnsmasq, by its bridge. What outlives a start is in ``state``, the pid in ``run``."""

    state: Path
    run: Path
    bridge: str

    @property
    def configuration(self) -> Path:
        return self.state / f"{self.bridge}.conf"

    @property
    def leases(self) -> Path:
        return self.state / f"{self.bridge}.leases"

    @property
    def hosts(self) -> Path:
        """Who gets which address."""
        return self.state / f"{self.bridge}.hostsfile"

    @property
    def names(self) -> Path:
        """Addresses and their names."""
        return self.state / f"{self.bridge}.addnhosts"

    @property
    def pid(self) -> Path:
        return self.run / f"{self.bridge}.pid"

    @property
    def all(self) -> tuple[Path, ...]:
        return self.configuration, self.leases, self.hosts, self.names, self.pid


def is_needed(network: NetworkDef) -> bool:
    """There is an address to be served at, and something to serve."""
    return bool(network.ips) and (
        _names_are_served(network) or any(ip.gives or ip.tftp is not None for ip in network.ips)
    )


def gives(network: NetworkDef) -> bool:
    """It answers those who ask for an IPv4 address: what a change may turn on and off."""
    return any(ip.version == 4 and (ip.gives or ip.tftp is not None) for ip in network.ips)


def configuration(network: NetworkDef, files: ServerFiles, user: str | None = None) -> str:
    """The text of the configuration file; ``user``: whose rights it is to keep, else those of nobody."""
    given = [ip for version in (4, 6) for ip in network.ips if ip.version == version and ip.gives]
    lines = [
        *("strict-order", *([f"user={user}"] if user is not None else ()), *_asking(network)),
        *(f"pid-file={files.pid}", "except-interface=lo", "bind-dynamic", f"interface={files.bridge}"),
        # No way out is told of, by no protocol, and nobody outside is asked for a name.
        *(("dhcp-option=3", "no-resolv", "ra-param=*,0,0") if network.forward is None else ()),
        *_records(network),
        *_tftp(network),
        *(line for ip in given for line in _dhcp(ip)),
    ]
    if count := sum(_size(ip) for ip in given):
        lines.append(f"dhcp-lease-max={count}")
    if given:
        lines += [f"dhcp-hostsfile={files.hosts}", f"dhcp-leasefile={files.leases}"]
    if _names_are_served(network):
        lines.append(f"addn-hosts={files.names}")
    if network.mtu:
        lines.append(f"dhcp-option=option:mtu,{network.mtu}")
    if any(ip.version == 6 for ip in given):
        lines.append("enable-ra")
    else:
        lines += [f"dhcp-range={ip.address},ra-only" for ip in network.ips if ip.version == 6]
    return HEAD.format(name=network.name) + "\n".join(lines) + "\n"


def _names_are_served(network: NetworkDef) -> bool:
    return network.dns is None or network.dns.enable is not False


def _asking(network: NetworkDef) -> list[str]:
    """Who is asked for which name."""
    dns, serves = network.dns or Dns(), _names_are_served(network)
    lines = [] if serves else ["port=0"]
    if serves and dns.forwarders:
        lines += _forwarders(dns)
    if network.domain is not None:
        if network.domain.local_only:
            lines.append(f"local=/{network.domain.name}/")
        lines += [f"domain={network.domain.name}", "expand-hosts"]
    if serves:
        lines += [f"local=/{addresses.reverse_domain(ip.address, ip.length)}/" for ip in network.ips if ip.local_ptr]
    if serves and dns.forward_plain_names is False:
        lines += ["domain-needed", "local=//"]
    return lines


def _records(network: NetworkDef) -> list[str]:
    if network.dns is None or not _names_are_served(network):
        return []
    texts = [f"txt-record={txt.name},{txt.value}" for txt in network.dns.txts]
    return [*texts, *(_srv(srv) for srv in network.dns.srvs)]


def _forwarders(dns: Dns) -> list[str]:
    lines = []
    for one in dns.forwarders:
        domain = f"/{one.domain}/" if one.domain is not None else ""
        lines.append(f"server={domain}{one.addr or '#'}")
    if any(one.addr is not None and one.domain is None for one in dns.forwarders):
        lines.append("no-resolv")
    return lines


def _srv(srv: DnsSrv) -> str:
    text = f"srv-host=_{srv.service}._{srv.protocol}" + (f".{srv.domain}" if srv.domain else "")
    if srv.target in (None, "."):
        return text
    text += f",{srv.target}"
    if srv.port or srv.priority or srv.weight:
        text += f",{srv.port or 1}"
    if srv.priority or srv.weight:
        text += f",{srv.priority or 0}"
    return text + (f",{srv.weight}" if srv.weight else "")


def _tftp(network: NetworkDef) -> list[str]:
    roots = [f"tftp-root={ip.tftp}" for ip in network.ips if ip.version == 4 and ip.tftp is not None]
    return ["enable-tftp", *roots] if roots else []


def _dhcp(ip: NetworkIp) -> list[str]:
    assert ip.dhcp is not None
    lines = []
    for one in ip.dhcp.ranges:
        mask = str(ip.subnet.netmask) if ip.version == 4 else str(ip.length)
        lines.append(f"dhcp-range={one.start},{one.end},{mask}{_lease(one.lease)}")
    if not ip.dhcp.ranges:
        lines.append(f"dhcp-range={ip.address},static" + (f",{ip.length}" if ip.version == 6 else ""))
    if ip.version == 4:
        lines += ["dhcp-no-override", "dhcp-authoritative"]
        if ip.dhcp.bootp is not None:
            server = f",,{ip.dhcp.bootp.server}" if ip.dhcp.bootp.server is not None else ""
            lines.append(f"dhcp-boot={ip.dhcp.bootp.file}{server}")
    return lines


def _lease(lease: LeaseTime | None) -> str:
    if lease is None:
        return ""
    return f",{lease.expiry}{(lease.unit or 'minutes')[0]}" if lease.expiry else ",infinite"


def _size(ip: NetworkIp) -> int:
    ranges = ip.dhcp.ranges if ip.dhcp is not None else ()
    return sum(int(ipaddress.ip_address(one.end)) - int(ipaddress.ip_address(one.start)) + 1 for one in ranges)


def hosts(network: NetworkDef) -> str:
    """Who gets which address: the file that is read again on a signal."""
    found = [
        _host(ip, host) for ip in network.ips if ip.dhcp is not None for host in ip.dhcp.hosts if host.ip is not None
    ]
    return "".join(f"{line}\n" for line in found)


def _host(ip: NetworkIp, host: DhcpHost) -> str:
    if ip.version == 6:
        parts = [f"id:{host.id}" if host.id else None, host.name, f"[{host.ip}]"]
    elif host.mac is not None:
        parts = [host.mac, host.ip, host.name]
    else:
        parts = [host.name, host.ip]
    return ",".join(part for part in parts if part) + _lease(host.lease)


def names(network: NetworkDef) -> str:
    """Addresses and their names: the other file that is read again."""
    found: dict[str, list[str]] = {}
    for host in network.dns.hosts if network.dns is not None else ():
        found.setdefault(host.ip or "", []).extend(one.name for one in host.hostnames)
    return "".join(f"{ip}\t{''.join(f'{name}{chr(9)}' for name in held)}\n" for ip, held in found.items())

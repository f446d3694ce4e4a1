"""How much may pass through a network device of the host: ``tc``'s rules for ``<bandwidth>``.

Source: util/virnetdevbandwidth.c of libvirt 9.0; tc-htb(8), tc-police(8).
"""

from __future__ import annotations

from culvert.domain.bandwidth import Bandwidth, Rate
from culvert.drivers.network import tool

MOST_BURST = (2**32 - 1) // 1024  # KiB; tc counts bytes in 32 bits
PACKET = 1500  # bytes


def commands(device: str, bandwidth: Bandwidth, *, of_bridge: bool) -> list[str]:
    """Lines for ``tc -batch``. What the host sends into a bridge or a tap comes in for the network or the guest.

    ``of_bridge``: with a class below, in which cards may be guaranteed a part.
    """
    lines = []
    sent, received = bandwidth.inbound, bandwidth.outbound
    if sent is not None and sent.average:
        lines.append(f"qdisc add dev {device} root handle 1: htb default {2 if of_bridge else 1}")
        ceiling = f" ceil {sent.peak or sent.average}kbps"
        if of_bridge:
            lines.append(
                f"class add dev {device} parent 1: classid 1:1 htb rate {sent.average}kbps{ceiling}{_quantum(sent)}"
            )
        parent, own = ("1:1", "1:2") if of_bridge else ("1:", "1:1")
        peak = ceiling if sent.peak else ""
        burst = f" burst {sent.burst}kb" if sent.burst else ""
        lines += [
            f"class add dev {device} parent {parent} classid {own} htb rate {sent.average}kbps{peak}{burst}"
            f"{_quantum(sent)}",
        ]
    if received is not None and received.average:
        burst = f"{received.burst or min(received.average, MOST_BURST)}kb"
        lines += [
            f"qdisc add dev {device} ingress",
            f"filter add dev {device} parent ffff: protocol all u32 match u32 0 0 police rate {received.average}kbps"
            f" burst {burst} mtu 64kb drop flowid :1",
        ]
    return lines


def _quantum(rate: Rate) -> str:
    """A hint for htb that is libvirt's (virNetDevBandwidthCmdAddOptimalQuantum)."""
    return f" quantum {max((rate.average or 0) * 1024 // 8 // PACKET, 1)}"


def fairness(device: str, *, of_bridge: bool) -> str:
    """One more line: no sender waits for ever for another one. A kernel may have none of it."""
    return f"qdisc add dev {device} parent {'1:2' if of_bridge else '1:1'} handle 2: sfq perturb 10\n"


async def limit(device: str, bandwidth: Bandwidth | None, *, of_bridge: bool = False) -> None:
    """Hold ``device`` back as ``bandwidth`` says, and no longer as before. Raises ``errors.InternalError``."""
    await clear(device)
    if bandwidth is not None and (lines := commands(device, bandwidth, of_bridge=of_bridge)):
        await tool.run("tc", ["-batch", "-"], text="".join(f"{line}\n" for line in lines))
        if bandwidth.inbound is not None and bandwidth.inbound.average:
            await tool.run("tc", ["-batch", "-"], text=fairness(device, of_bridge=of_bridge), must=False)


async def clear(device: str) -> None:
    """Hold ``device`` back no longer; nothing happens when it was not."""
    # Each may find nothing: -force goes on behind a line that fails.
    lines = f"qdisc del dev {device} root\nqdisc del dev {device} ingress\n"
    await tool.run("tc", ["-force", "-batch", "-"], text=lines, must=False)


async def mend_checksums(device: str, *, limited: bool) -> None:
    """Have answers of DHCP that leave by ``device`` carry a checksum, which a tap leaves to a card that never comes;
    some clients drop them otherwise. A kernel without the means does without. ``limited``: ``device`` is held back.

    Source: network/network_nftables.c of libvirt 11.3, nftablesAddUdpChecksumFixWithTC.
    """
    root = "" if limited else f"qdisc add dev {device} root handle 1: htb default 2\n"
    answers = (
        f"filter add dev {device} prio 2 protocol ip parent 1: u32 match ip dport 68 ffff action csum ip and udp\n"
    )
    await tool.run("tc", ["-batch", "-"], text=root + answers, must=False)

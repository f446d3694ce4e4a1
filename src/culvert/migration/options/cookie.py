"""The migration cookie: what the two sides tell each other through whoever drives the migration; pure.

XML followed by one NUL that is counted (qemu/qemu_migration_cookie.c). Always with name, uuid, hostname and hostuuid:
a cookie without them crashes libvirt 9.0 at either end. culvert adds one element of its own, which libvirt ignores::

    <qemu-migration>
      <name>g</name> <uuid>…</uuid> <hostname>host-a</hostname> <hostuuid>…</hostuuid>
      <feature name='persistent'/> <domain>…</domain>      the definition to keep, in Perform's cookie
      <statistics> <memory_total>…</memory_total> … </statistics>
      <graphics type='spice' port='5900' listen='…' tlsPort='-1'/>   in Prepare's answer: where viewers go
      <cpu>…</cpu>                                         the CPU that runs, where the XML asks for another
      <culvert attempt='…' seal='…' grant='…' wire='2'/>   names this attempt; what lets it run (``grant``); which
                                                            form of culvert's own program its source speaks
                                                            in Prepare's answer to a client: <domain>, what
                                                            waits there
      <culvert … preempt='yes'/>                           Begin's: the source's QEMU can have postcopy-preempt;
                                                            Prepare's answer to a client: so it will be there,
                                                            if the data comes by the route pump
      <culvert … qemu='7002022'/>                          Prepare's answer to a client: the QEMU that waits
    </qemu-migration>
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from lxml import etree

from culvert.domain import xml
from culvert.ground import errors
from culvert.hypervisor.viewer import NO_PORT, Screen

ROOT = "qemu-migration"

# What names an attempt: a plain word, for it becomes a file's name at the destination.
ATTEMPT = re.compile(r"[0-9A-Za-z]{8,64}")
_NUMBER = re.compile(r"[0-9]{1,4}")
_VERSION = re.compile(r"[0-9]{1,9}")
_YES = re.compile("yes")
_HEXADECIMAL = re.compile(r"[0-9a-f]{64}")  # a seal, or a grant


def _no_leases(root: etree._Element) -> bool:
    """libvirt always insists on "lockstate"; it says something only where a lock manager holds leases (sanlock)."""
    found = root.find("lockstate")
    return found is None or (found.get("driver", "") in ("", "nop") and not (found.findtext("leases") or "").strip())


# Features a sender may insist on (qemuMigrationCookieFlag names in qemu_migration_cookie.c), and whether they are
# acted on here. To accept another would be to drop silently what its sender relies on.
UNDERSTOOD_FEATURES: dict[str, Callable[[etree._Element], bool]] = {
    "persistent": lambda root: True,
    "statistics": lambda root: True,
    "cpu": lambda root: True,
    "graphics": lambda root: True,
    "lockstate": _no_leases,
}


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie, read or to be sent. ``persistent_xml`` and ``machine_xml`` are whole ``<domain>``; ``statistics``
    are numbers; ``screen``: where the destination's SPICE server is. ``machine_xml``, what waits at the destination,
    needs an ``attempt``. ``wire``: what the source speaks of ``protocol.culvert``, 1 where it does not say.
    ``preempt``: QEMU's post-copy has a channel of its own for the pages that the guest waits for, where the route
    allows it. ``qemu``: the version of the one that waits, as ``combinations.Version``, 0 where it is not told.

    ``insists``: a receiver that does not understand ``persistent_xml`` must refuse the cookie. libvirt expects it in
    Perform's cookie only and refuses it in any other, though it would take no notice of the element alone.
    """

    name: str
    uuid: UUID
    hostname: str
    host_uuid: UUID
    attempt: str = ""
    seal: str = ""
    grant: str = ""
    wire: int = 1
    preempt: bool = False
    qemu: int = 0
    machine_xml: str | None = None
    persistent_xml: str | None = None
    cpu_xml: str | None = None
    screen: Screen | None = None
    statistics: dict[str, int] = field(default_factory=dict)
    insists: bool = field(default=True, compare=False)


def build(cookie: Cookie) -> bytes:
    """The bytes for the wire, NUL included."""
    root = etree.Element(ROOT)
    for tag, text in (
        ("name", cookie.name),
        ("uuid", str(cookie.uuid)),
        ("hostname", cookie.hostname),
        ("hostuuid", str(cookie.host_uuid)),
    ):
        etree.SubElement(root, tag).text = text
    if cookie.persistent_xml is not None:
        if cookie.insists:
            etree.SubElement(root, "feature", name="persistent")
        root.append(xml.read(cookie.persistent_xml))
    if cookie.screen is not None:
        screen = cookie.screen
        ports = {"port": str(screen.port), "listen": screen.listen, "tlsPort": str(screen.tls_port)}
        graphics = etree.SubElement(root, "graphics", {"type": screen.type, **ports})
        if screen.subject:
            etree.SubElement(graphics, "cert", info="subject", value=screen.subject)
    if cookie.cpu_xml is not None:
        root.append(xml.read(cookie.cpu_xml))
    if cookie.statistics:
        statistics = etree.SubElement(root, "statistics")
        for name, value in cookie.statistics.items():
            etree.SubElement(statistics, name).text = str(value)
    if cookie.attempt:
        own = {"attempt": cookie.attempt, "seal": cookie.seal, "grant": cookie.grant}
        own["wire"] = str(cookie.wire) if cookie.wire > 1 else ""
        own["preempt"] = "yes" if cookie.preempt else ""
        own["qemu"] = str(cookie.qemu) if cookie.qemu else ""
        ours = etree.SubElement(root, "culvert", {name: value for name, value in own.items() if value})
        if cookie.machine_xml is not None:
            ours.append(xml.read(cookie.machine_xml))
    return etree.tostring(root) + b"\0"


def parse(data: bytes) -> Cookie:
    """Read a cookie.

    Raises ``errors.InternalError`` (libvirt's code for cookie faults) when it is not one: no NUL at the end, not XML,
    an identity missing, or a feature that the sender insists on and that culvert does not know.
    """
    if not data.endswith(b"\0"):
        raise errors.InternalError("Migration cookie was not NULL terminated")
    try:
        root = xml.read(data[:-1].decode("utf-8"))
        if root.tag != ROOT:
            raise errors.InternalError(f"migration cookie is <{root.tag}> where <{ROOT}> belongs")
        for feature in root.findall("feature"):
            name = feature.get("name", "")
            if name not in UNDERSTOOD_FEATURES:
                raise errors.InternalError(f"Unknown migration cookie feature {name}")
            if not UNDERSTOOD_FEATURES[name](root):
                raise errors.InternalError(f"Unsupported migration cookie feature {name}: see its element")
        return Cookie(
            name=_text(root, "name"),
            uuid=UUID(_text(root, "uuid")),
            hostname=_text(root, "hostname"),
            host_uuid=UUID(_text(root, "hostuuid")),
            attempt=_own(root, "attempt", ATTEMPT),
            seal=_own(root, "seal", _HEXADECIMAL),
            grant=_own(root, "grant", _HEXADECIMAL),
            wire=int(_own(root, "wire", _NUMBER) or 1),
            preempt=bool(_own(root, "preempt", _YES)),
            qemu=int(_own(root, "qemu", _VERSION) or 0),
            machine_xml=_subtree(root, "culvert/domain"),
            persistent_xml=_subtree(root, "domain"),
            cpu_xml=_subtree(root, "cpu"),
            screen=_screen(root),
            statistics=_statistics(root),
        )
    except (ValueError, errors.XMLError) as err:
        raise errors.InternalError(f"migration cookie cannot be read: {err}") from err


def _text(root: etree._Element, tag: str) -> str:
    text = root.findtext(tag)
    if not text:
        raise errors.InternalError(f"missing {tag} element in migration data")
    return text


def _own(root: etree._Element, attribute: str, shape: re.Pattern[str]) -> str:
    found = root.find("culvert")
    value = "" if found is None else found.get(attribute, "")
    if value and not shape.fullmatch(value):
        raise errors.InternalError(f"migration cookie's {attribute} is {value!r:.100}, which has not the right form")
    return value


def _subtree(root: etree._Element, tag: str) -> str | None:
    found = root.find(tag)
    return None if found is None else etree.tostring(found, encoding="unicode", with_tail=False)


def _screen(root: etree._Element) -> Screen | None:
    """Raises ``ValueError`` for a port that is no number."""
    found = root.find("graphics")
    if found is None:
        return None
    told = found.find("cert[@info='subject']")
    return Screen(
        type=found.get("type", ""),
        port=int(found.get("port", NO_PORT)),
        tls_port=int(found.get("tlsPort", NO_PORT)),
        listen=found.get("listen", ""),
        subject="" if told is None else told.get("value", ""),
    )


def _statistics(root: etree._Element) -> dict[str, int]:
    found = root.find("statistics")
    if found is None:
        return {}
    return {str(item.tag): int(item.text) for item in found if item.text and item.text.isdecimal()}

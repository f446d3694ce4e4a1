"""What a call demands of who makes it, in libvirt's own words; pure.

The comment on top of ``enum remote_procedure`` (remote/remote_protocol.x) explains ``@acl``, and
rpc/gendispatch.pl what the flags in it mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from culvert.protocol.constants_flag import AffectFlag, ShutdownFlag, VcpuFlag, XMLFlag

NONE = "none"
"""The ``acl`` of what demands nothing: it comes before anybody is known, or ends the connection."""

FLAGS: dict[str, int] = {
    "VIR_DOMAIN_AFFECT_LIVE": AffectFlag.LIVE,
    "VIR_DOMAIN_AFFECT_CONFIG": AffectFlag.CONFIG,
    "VIR_DOMAIN_VCPU_GUEST": VcpuFlag.GUEST,
    "VIR_DOMAIN_XML_SECURE": XMLFlag.SECURE,
    "VIR_DOMAIN_XML_MIGRATABLE": XMLFlag.MIGRATABLE,
    "VIR_DOMAIN_SHUTDOWN_GUEST_AGENT": ShutdownFlag.GUEST_AGENT,
    "VIR_DOMAIN_REBOOT_GUEST_AGENT": ShutdownFlag.GUEST_AGENT,
    "VIR_DOMAIN_SAVE_IMAGE_XML_SECURE": 1,
    "VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT": 1,
    "VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE": 64,
    "VIR_DOMAIN_SNAPSHOT_XML_SECURE": 1,
    "VIR_DOMAIN_CHECKPOINT_CREATE_QUIESCE": 2,
    "VIR_DOMAIN_CHECKPOINT_XML_SECURE": 1,
    "VIR_NETWORK_UPDATE_AFFECT_LIVE": 1,
    "VIR_NETWORK_UPDATE_AFFECT_CONFIG": 2,
}
"""The values that the rows name (include/libvirt/*.h)."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One permission, ``OBJECT.PERMISSION``, and when it is demanded.

    Always, or when all of ``flags`` are in the call's flags, or when none of ``without`` is, or when the argument
    ``parameter`` is ``value``.
    """

    word: str
    flags: int = 0
    without: int = 0
    parameter: str = ""
    value: int = 0

    def applies(self, args: object) -> bool:
        """Whether a call with these arguments demands it."""
        if self.parameter:
            return bool(getattr(args, self.parameter) == self.value)
        given = int(getattr(args, "flags", 0))
        return given & self.flags == self.flags and not given & self.without

    @property
    def is_more(self) -> bool:
        """Whether a call demands it only for what is more than its plain form: the same call may be for looking only
        otherwise, and libvirt refuses just this on a read-only connection."""
        return bool(self.flags or self.parameter)


@cache
def demands(acl: str) -> tuple[Demand, ...]:
    """Those of a row's ``acl`` or ``acl_filter``. Raises ``ValueError`` for one that is not of that form."""
    return () if acl in ("", NONE) else tuple(_demand(text) for text in acl.split())


def _demand(text: str) -> Demand:
    kind, permission, flags, parameter, value = (*text.split(":"), "", "", "", "")[:5]
    if not kind or not permission or text.count(":") > 4:
        raise ValueError(f"'{text}' is not OBJECT:PERMISSION[:FLAGS[:PARAMETER:VALUE]]")
    try:
        number = sum(FLAGS[name] for name in flags.removeprefix("!").split("|") if name)
        return Demand(
            f"{kind}.{permission}",
            flags=0 if flags.startswith("!") else number,
            without=number if flags.startswith("!") else 0,
            parameter=parameter,
            value=FLAGS[value] if value else 0,
        )
    except KeyError as err:
        raise ValueError(f"'{text}' names the flag {err}, whose value is not known") from err

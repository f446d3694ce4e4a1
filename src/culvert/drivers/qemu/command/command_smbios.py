"""``-smbios`` and ``-fw_cfg``: what the guest's firmware says of the machine.

Source: qemu/qemu_command.c (qemuBuildSmbiosCommandLine, qemuBuildSysinfoCommandLine) of libvirt 9.0.
"""

from __future__ import annotations

from collections.abc import Iterator

from culvert.domain.definition import DomainDef
from culvert.domain.sysinfo import Block, Sysinfo
from culvert.drivers.qemu.command.command_syntax import comma

# Field of Sysinfo → number of the structure.
TYPES = {"bios": 0, "system": 1, "base_board": 2, "chassis": 3}
OEM_STRINGS = 11
# libvirt says who has made these also where nobody has said it.
ALWAYS = {"base_board": "manufacturer", "chassis": "manufacturer"}


def smbios(definition: DomainDef) -> Iterator[str]:
    """What ``<os><smbios mode='sysinfo'/>`` asks for, and files of the firmware's."""
    for told in definition.sysinfo:
        if told.type == "fwcfg":
            for entry in told.entries:
                yield from ("-fw_cfg", f"name={entry.name},string={comma(entry.value or '')}")
        elif definition.os.smbios == "sysinfo":
            yield from _tables(told)


def _tables(told: Sysinfo) -> Iterator[str]:
    for field, number in TYPES.items():
        held = getattr(told, field)
        for block in held if isinstance(held, tuple) else (held,):
            if block is not None:
                yield from ("-smbios", ",".join([f"type={number}", *_said(block, ALWAYS.get(field))]))
    strings = [one.value for one in told.oem_strings.entries if one.value] if told.oem_strings else []
    if strings:
        yield from ("-smbios", ",".join([f"type={OEM_STRINGS}", *(f"value={comma(text)}" for text in strings)]))


def _said(block: Block, always: str | None) -> Iterator[str]:
    if always is not None and all(entry.name != always for entry in block.entries):
        yield f"{always}="
    for entry in block.entries:
        yield f"{entry.name}={comma(entry.value or '')}"

"""A screen that is changed: its password while the guest runs, anything of it for the next start.

The password stands in the definition, so that it goes wherever the guest goes; also one that somebody gives QEMU by
its monitor. Source: qemu/qemu_hotplug.c of libvirt 9.0 (qemuDomainChangeGraphics).
"""

from __future__ import annotations

import json
from dataclasses import replace

from culvert.domain import display, validate
from culvert.domain.definition import DomainDef
from culvert.domain.display import Graphics
from culvert.drivers.qemu import impact, vnc
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver
from culvert.drivers.qemu.impact import Impact
from culvert.ground import errors
from culvert.io import apart

LIVE = Impact(live=True, config=False)


async def change(driver: Driver, domain: Domain, wanted: Graphics, flags: int) -> None:
    """Give the screen what ``wanted`` says. Nothing has changed when it raises.

    Raises ``errors.DeviceMissing`` where there is no screen, ``errors.OperationUnsupported`` for what cannot be
    changed while the guest runs, and QEMU's refusal of a password for a screen that was started without one.
    """
    validate.check_device(wanted)
    async with domain.changing("update a device of"):
        about = impact.impact(domain, flags)
        if about.config:
            await apart.run(
                driver.accept, _with_screen(domain.require_persistent(), wanted)
            )  # before anything changes
        if about.live:
            live = _screen(domain.require_active().definition)
            _check(live, wanted)
            if wanted.passwd is not None and _password(wanted) != _password(live):
                await vnc.set_password(domain, wanted)
                await _note(domain, wanted)
        if about.config:
            await domain.change_persistent(lambda one: driver.accept(_with_screen(one, wanted)))


def _password(screen: Graphics) -> tuple[str | None, ...]:
    return screen.passwd, screen.passwd_valid_to, screen.connected


async def _note(domain: Domain, wanted: Graphics) -> None:
    def changed(definition: DomainDef) -> DomainDef:
        return _with_screen(
            definition,
            replace(
                _screen(definition),
                passwd=wanted.passwd,
                passwd_valid_to=wanted.passwd_valid_to,
                connected=wanted.connected,
            ),
        )

    await impact.keep(domain, changed, LIVE)


async def note_password(domain: Domain, password: str) -> None:
    """QEMU has been given ``password``: it is that of the running guest's screen; on the disk on return.

    Only so much of it is kept as counts: libvirt takes no guest with a longer one.
    """

    def changed(definition: DomainDef) -> DomainDef:
        return _with_screen(definition, replace(_screen(definition), passwd=password[: display.PASSWORD_MAX]))

    await impact.keep(domain, changed, LIVE)


def password_in(command: str, *, human: bool) -> str | None:
    """The VNC password that a command of QEMU's monitor sets; ``human``: a line of the human monitor."""
    if human:
        match command.split():
            case ["set_password", "vnc", password, *_] | ["change", "vnc", "passwd" | "password", password, *_]:
                return password
        return None
    match json.loads(command):
        case {"execute": "set_password", "arguments": {"protocol": "vnc", "password": str(password)}}:
            return password
        case {"execute": "change-vnc-password", "arguments": {"password": str(password)}}:
            return password
    return None


def _screen(definition: DomainDef) -> Graphics:
    for graphics in definition.devices.graphics:
        if graphics.type == "vnc":
            return graphics
    raise errors.DeviceMissing("device not found: cannot find existing graphics device to modify of type 'vnc'")


def _with_screen(definition: DomainDef, wanted: Graphics) -> DomainDef:
    old = _screen(definition)
    devices = definition.devices
    graphics = tuple(wanted if one is old else one for one in devices.graphics)
    return replace(definition, devices=replace(devices, graphics=graphics))


def _check(live: Graphics, wanted: Graphics) -> None:
    automatic = bool(live.autoport)
    for what, same in (
        ("listen address setting", wanted.address in (None, live.address)),
        ("port settings", vnc.wants_port(wanted) if automatic else wanted.port == live.port),
        ("keymap setting", wanted.keymap == live.keymap),
        ("share policy", wanted.share_policy == live.share_policy),
    ):
        if not same:
            raise errors.OperationUnsupported(f"cannot change {what} on vnc graphics")
    if wanted.passwd is None and live.passwd is not None:
        # libvirt says yes and QEMU goes on asking; the next QEMU would ask for nothing.
        raise errors.OperationUnsupported("cannot take the password from vnc graphics while the guest runs")

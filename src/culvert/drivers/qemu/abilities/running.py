"""What a QEMU that runs can do: asked of it, because the file of its name may be another one by now."""

from __future__ import annotations

import logging

from culvert.drivers.qemu.abilities import ability
from culvert.drivers.qemu.abilities.ability import Abilities
from culvert.drivers.qemu.monitor import CommandRefused, Monitor
from culvert.io import apart

log = logging.getLogger(__name__)


async def ask(monitor: Monitor) -> Abilities:
    """Its flags of the table ``ability.SCHEMA``. A quarter of a megabyte of JSON, looked through beside the loop.

    A QEMU that refuses to say can do nothing that not every QEMU can. Raises as ``Monitor.execute`` otherwise.
    """
    try:
        entities = await monitor.execute("query-qmp-schema")
    except CommandRefused as err:
        log.warning("domain=%s QEMU does not say what it can do reason=%r", monitor.name, err.message)
        return ability.NONE
    return Abilities(await apart.run(ability.of_schema, entities))

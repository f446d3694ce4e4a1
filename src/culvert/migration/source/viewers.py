"""Who looks at a guest by SPICE and follows it: told where it goes before it does, waited for when it has gone."""

from __future__ import annotations

import asyncio
import logging

from culvert.ground import errors
from culvert.hypervisor import viewer
from culvert.hypervisor.contract import Guest
from culvert.migration.options.cookie import Cookie
from culvert.migration.options.parameters import Options

log = logging.getLogger(__name__)

GONE_TIMEOUT = 10.0  # seconds for viewers to have gone over, once the guest runs there


async def lead(guest: Guest | None, options: Options, there: Cookie) -> None:
    """Have the guest's viewers connect to where ``there``, the destination, or who asked for it, says.

    What cannot be done is logged: a viewer then has to connect again, and the guest goes all the same. Raises
    ``errors.InvalidArgument`` for a graphics URI that is none.
    """
    screen = viewer.asked(options.graphics_uri, there.screen) if options.graphics_uri else there.screen
    if screen is None or not screen.is_followed or guest is None or not guest.is_active:
        return
    try:
        await guest.hypervisor.send_viewers(screen.seen_from(there.hostname))
    except errors.RequestError as err:
        log.warning("domain=%s its viewers are not sent to the destination: %s", guest.name, err)


async def let_go(guest: Guest) -> None:
    """Wait until they are there: what the server here has for them goes with them."""
    try:
        async with asyncio.timeout(GONE_TIMEOUT):
            await guest.hypervisor.viewers_gone()
    except (errors.RequestError, TimeoutError) as err:
        log.warning("domain=%s its viewers have not all gone over: %s", guest.name, err or "not in time")

"""Asking the destination what became of a guest, for as long as it takes: the source never guesses."""

from __future__ import annotations

import asyncio
import logging

from culvert.ground import errors
from culvert.migration import native, peer, stock
from culvert.migration.departure import Departure
from culvert.protocol import types
from culvert.protocol.culvert import Outcome
from culvert.protocol.errors import is_unsupported

log = logging.getLogger(__name__)

ASK_AGAIN = (0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between questions to a destination; the last one repeats


async def has_arrived(departure: Departure, why: errors.RequestError) -> bool:
    """Whether the guest runs at the destination; the guest stays paused here until that is known.

    ``why`` is what came in the place of a good answer to finish. A destination that cannot be asked (no culvert) is
    believed when it refused; when its answer was lost, ``stock`` looks at the guest there, and where that does not
    tell, the guest stays paused for good. Where the answer is no, ``departure.cause`` says why.
    """
    domain = departure.domain
    if native.is_address(departure.destination_uri):
        return _nobody_knows(departure, stock.undecided(departure, why))
    asked = types.Domain(domain.name, domain.uuid.bytes, domain.id)
    delays = iter(ASK_AGAIN)
    delay, obstacle = 0.0, why
    while True:
        try:
            async with peer.connect(departure.destination_uri, departure.settings, hypervisor=False) as destination:
                outcome, detail = await destination.outcome(asked, departure.attempt)
        except errors.RequestError as err:
            if is_unsupported(err):
                if isinstance(why, errors.RemoteError):
                    departure.cause = why
                    return False
                try:
                    return await stock.has_arrived(departure, why)
                except stock.Undecided as undecided:
                    return _nobody_knows(departure, undecided)
                except errors.RequestError as again:
                    err = again
            obstacle = err
        else:
            if outcome is Outcome.RUNNING:
                return True
            if outcome is not Outcome.PENDING:
                refused = isinstance(why, errors.RemoteError)
                departure.cause = why if refused else errors.OperationFailed(detail or str(why))
                return False
        waiting = f"waiting for {departure.destination_uri} to say whether the guest runs there: {obstacle}"
        if waiting != departure.record.error:
            departure.record.error = waiting
            log.warning("domain=%s migration=%s %s", domain.name, departure.attempt, waiting)
        delay = next(delays, delay)
        await asyncio.sleep(delay)


def _nobody_knows(departure: Departure, undecided: stock.Undecided) -> bool:
    departure.stays_paused = True
    departure.cause = undecided
    return False

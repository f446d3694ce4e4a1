"""Where nobody can be asked, nothing is guessed: the guest stays paused and a person is told what to do."""

from __future__ import annotations

from uuid import UUID

import pytest

from culvert.ground import errors
from culvert.migration import ask
from culvert.migration.departure import ANNOTATION, Departure
from culvert.migration.parameters import Options
from culvert.migration.phases import Phase
from culvert.migration.settings import Settings
from culvert.migration.stock import Undecided
from culvert.protocol.constants import DomainState, JobType, MigrateFlag, PausedReason
from tests.migration.fakes import FakeDomain, FakeStream

SETTINGS = Settings("host-a", UUID(int=1), stall_seconds=0)


@pytest.mark.parametrize("uri", ["tcp:host-b:49152", "tcp://host-b:49152"])
async def test_a_qemu_s_own_port_answers_no_questions(uri: str) -> None:
    domain = FakeDomain()
    departure = Departure(domain.as_domain, Options(flags=MigrateFlag.LIVE), SETTINGS)
    departure.destination_uri = uri
    domain.monitor.on["migrate"] = domain.complete
    await departure.perform(FakeStream().as_way)
    assert not await ask.has_arrived(departure, errors.OperationAborted("the client has gone"))
    assert isinstance(departure.cause, Undecided)
    assert "virsh resume g" in str(departure.cause)
    assert "the client has gone" in str(departure.cause)
    await departure.confirm(arrived=False)
    assert departure.phase is Phase.CONFIRM3_CANCELLED
    assert departure.record.type is JobType.FAILED
    assert (domain.state, domain.reason) == (DomainState.PAUSED, PausedReason.MIGRATION)
    assert "cont" not in domain.history
    assert ANNOTATION not in domain.annotations, "the next daemon does not wait for it either"

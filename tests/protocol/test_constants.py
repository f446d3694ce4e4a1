"""Numbers by name: the values clients and daemons decide by, and that tables over them are complete."""

from __future__ import annotations

from enum import IntEnum, IntFlag

import pytest

from culvert.protocol import constants
from culvert.protocol.constants import DomainEvent, DomainState, MigrateFlag


def test_every_state_has_its_reasons_and_every_event_its_details() -> None:
    assert set(constants.REASONS) == set(DomainState)
    assert set(constants.DETAILS) == set(DomainEvent)


@pytest.mark.parametrize(
    "kind",
    [
        *(DomainState, DomainEvent, constants.EventID, constants.JobType, constants.JobOperation),
        *(constants.CloseReason, constants.MemoryStatTag, *constants.REASONS.values(), *constants.DETAILS.values()),
    ],
)
def test_enums_count_from_0_without_a_gap(kind: type[IntEnum]) -> None:
    assert [member.value for member in kind] == list(range(len(kind)))


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        *((MigrateFlag, 21), (constants.ListFlag, 16), (constants.XMLFlag, 4), (constants.CreateFlag, 6)),
        *((constants.StatsGroup, 11), (constants.UndefineFlag, 7)),
    ],
)
def test_flags_are_one_bit_each_without_a_gap(kind: type[IntFlag], count: int) -> None:
    assert [member.value for member in kind] == [1 << bit for bit in range(count)]


@pytest.mark.parametrize(
    ("member", "number"),
    [
        (constants.RunningReason.MIGRATION_CANCELED, 6),
        (constants.PausedReason.MIGRATION, 2),
        (constants.PausedReason.POSTCOPY_FAILED, 13),
        (constants.ShutoffReason.MIGRATED, 4),
        (constants.ShutoffReason.FAILED, 6),
        (DomainEvent.STOPPED, 5),
        (constants.StoppedDetail.MIGRATED, 3),
        (constants.ResumedDetail.MIGRATED, 1),
        (constants.EventID.MIGRATION_ITERATION, 20),
        (constants.EventID.MEMORY_DEVICE_SIZE_CHANGE, 26),
        (constants.Feature.PROGRAM_KEEPALIVE, 10),
        (constants.Feature.MIGRATION_PARAMS, 13),
        (constants.Feature.NETWORK_UPDATE_HAS_CORRECT_ORDER, 16),
        (MigrateFlag.CHANGE_PROTECTION, 256),
        (MigrateFlag.ABORT_ON_ERROR, 4096),
        (MigrateFlag.ZEROCOPY, 1048576),
        (constants.JobOperation.MIGRATION_OUT, 5),
        (constants.TypedParamFlag.STRING_OKAY, 4),
    ],
)
def test_numbers(member: int, number: int) -> None:
    assert member == number


def test_every_migration_flag_has_the_name_of_its_option() -> None:
    assert set(constants.MIGRATE_FLAG_OPTIONS) == set(MigrateFlag)


def test_every_parameter_name_is_in_its_table() -> None:
    def names(kind: type) -> set[str]:
        return {value for key, value in vars(kind).items() if key.isupper()}

    assert names(constants.MigrateParam) == set(constants.MIGRATE_PARAMS)
    assert names(constants.JobStat) == set(constants.JOB_STATS)

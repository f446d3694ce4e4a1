"""Numbers by name: the values clients and daemons decide by, and that tables over them are complete."""

from __future__ import annotations

from enum import IntEnum, IntFlag

import pytest

from culvert.protocol import constants_flag, constants_migrate, constants_state
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.protocol.constants_state import DomainEvent, DomainState


def test_every_state_has_its_reasons_and_every_event_its_details() -> None:
    assert set(constants_state.REASONS) == set(DomainState)
    assert set(constants_state.DETAILS) == set(DomainEvent)


@pytest.mark.parametrize(
    "kind",
    [
        *(
            DomainState,
            DomainEvent,
            constants_state.EventID,
            constants_migrate.JobType,
            constants_migrate.JobOperation,
        ),
        *(
            constants_state.CloseReason,
            constants_flag.MemoryStatTag,
            *constants_state.REASONS.values(),
            *constants_state.DETAILS.values(),
        ),
    ],
)
def test_enums_count_from_0_without_a_gap(kind: type[IntEnum]) -> None:
    assert [member.value for member in kind] == list(range(len(kind)))


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        *(
            (MigrateFlag, 21),
            (constants_flag.ListFlag, 16),
            (constants_flag.XMLFlag, 4),
            (constants_flag.CreateFlag, 6),
        ),
        *((constants_flag.StatsGroup, 11), (constants_flag.UndefineFlag, 7)),
    ],
)
def test_flags_are_one_bit_each_without_a_gap(kind: type[IntFlag], count: int) -> None:
    assert [member.value for member in kind] == [1 << bit for bit in range(count)]


@pytest.mark.parametrize(
    ("member", "number"),
    [
        (constants_state.RunningReason.MIGRATION_CANCELED, 6),
        (constants_state.PausedReason.MIGRATION, 2),
        (constants_state.PausedReason.POSTCOPY_FAILED, 13),
        (constants_state.ShutoffReason.MIGRATED, 4),
        (constants_state.ShutoffReason.FAILED, 6),
        (DomainEvent.STOPPED, 5),
        (constants_state.StoppedDetail.MIGRATED, 3),
        (constants_state.ResumedDetail.MIGRATED, 1),
        (constants_state.EventID.MIGRATION_ITERATION, 20),
        (constants_state.EventID.MEMORY_DEVICE_SIZE_CHANGE, 26),
        (constants_state.Feature.PROGRAM_KEEPALIVE, 10),
        (constants_state.Feature.MIGRATION_PARAMS, 13),
        (constants_state.Feature.NETWORK_UPDATE_HAS_CORRECT_ORDER, 16),
        (MigrateFlag.CHANGE_PROTECTION, 256),
        (MigrateFlag.ABORT_ON_ERROR, 4096),
        (MigrateFlag.ZEROCOPY, 1048576),
        (constants_migrate.JobOperation.MIGRATION_OUT, 5),
        (constants_flag.TypedParamFlag.STRING_OKAY, 4),
    ],
)
def test_numbers(member: int, number: int) -> None:
    assert member == number


def test_every_migration_flag_has_the_name_of_its_option() -> None:
    assert set(constants_migrate.MIGRATE_FLAG_OPTIONS) == set(MigrateFlag)


def test_every_parameter_name_is_in_its_table() -> None:
    def names(kind: type) -> set[str]:
        return {value for key, value in vars(kind).items() if key.isupper()}

    assert names(constants_migrate.MigrateParam) == set(constants_migrate.MIGRATE_PARAMS)
    assert names(constants_migrate.JobStat) == set(constants_migrate.JOB_STATS)

"""What becomes of a disk's limits when some of them are told anew, as libvirt 9.0 has it."""

from __future__ import annotations

import pytest

from culvert.domain.definition import DomainDef
from culvert.domain.disk import IoTune
from culvert.drivers.qemu import iotune
from culvert.ground import errors
from tests.domain.test_disks import disk, guest

LIMITED = "<iotune><total_bytes_sec>10</total_bytes_sec><read_iops_sec>5</read_iops_sec></iotune>"
GROUP = "<iotune><write_iops_sec>3</write_iops_sec><group_name>g</group_name></iotune>"


def two() -> DomainDef:
    return guest(disk(rest=LIMITED) + disk(target="vdb", rest=GROUP))


def wanted(**told: int | str) -> IoTune | None:
    definition = two()
    return iotune.wanted(definition, definition.devices.disks[0], told)


def test_a_family_is_given_as_a_whole_and_the_rest_stays() -> None:
    assert wanted(write_bytes_sec=7) == IoTune(write_bytes_sec=7, read_iops_sec=5)
    assert wanted(read_iops_sec=0) == IoTune(total_bytes_sec=10)
    assert wanted(read_iops_sec=0, total_bytes_sec=0) is None
    assert wanted(size_iops_sec=4096) == IoTune(total_bytes_sec=10, read_iops_sec=5, size_iops_sec=4096)


def test_who_comes_into_a_group_has_its_limits() -> None:
    assert wanted(group_name="g") == IoTune(write_iops_sec=3, group_name="g")
    definition = two()
    both = iotune.with_tune(definition, definition.devices.disks[0], IoTune(read_iops_sec=1, group_name="g"))
    assert [one.iotune for one in both.devices.disks] == [IoTune(read_iops_sec=1, group_name="g")] * 2


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"total_iops_sec": 1, "read_iops_sec": 1}, "cannot be set at the same time"),
        ({"total_bytes_sec_max": 5}, "cannot be smaller than"),
        ({"write_iops_sec_max": 5}, "cannot reset 'write_iops_sec'"),
        ({"total_bytes_sec": 10**15 + 1}, "no more than"),
    ],
)
def test_what_is_refused(told: dict[str, int | str], says: str) -> None:
    with pytest.raises(errors.RequestError, match=says):
        wanted(**told)


def test_what_qemu_is_told() -> None:
    definition = two()
    one = definition.devices.disks[0]
    told = iotune.throttle(
        one, IoTune(read_iops_sec=5, read_iops_sec_max=9, read_iops_sec_max_length=2, group_name="g")
    )
    assert told == {
        "id": "/machine/peripheral//virtio-backend",
        "bps": 0,
        "bps_rd": 0,
        "bps_wr": 0,
        "iops": 0,
        "iops_rd": 5,
        "iops_wr": 0,
        "iops_rd_max": 9,
        "iops_rd_max_length": 2,
        "group": "g",
    }

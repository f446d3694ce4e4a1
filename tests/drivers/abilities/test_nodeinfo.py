"""The host in libvirt's terms."""

from __future__ import annotations

from pathlib import Path

from culvert.drivers.qemu.abilities import nodeinfo


def test_this_host_adds_up() -> None:
    info = nodeinfo.read()
    assert info.nodes * info.sockets * info.cores * info.threads == info.cpus == len(nodeinfo.cpus())
    assert info.memory > 0
    assert 0 < len(info.model.encode()) <= nodeinfo.MODEL_LIMIT


def test_cpus_that_are_switched_off_do_not_count(tmp_path: Path) -> None:
    for number, online in ((0, None), (1, "1"), (2, "0")):
        topology = tmp_path / f"cpu{number}" / "topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text("-1\n")
        (topology / "core_id").write_text(f"{number}\n")
        (topology / "thread_siblings_list").write_text(f"{number}\n")
        (tmp_path / f"cpu{number}" / f"node{number}").mkdir()
        if online is not None:
            (tmp_path / f"cpu{number}" / "online").write_text(online)
    (tmp_path / "cpufreq").mkdir()
    assert nodeinfo.cpus(tmp_path) == [nodeinfo.HostCpu(0, 0, 0, 0, "0"), nodeinfo.HostCpu(1, 1, 0, 1, "1")]


def test_a_host_that_tells_nothing(tmp_path: Path) -> None:
    assert nodeinfo.cpus(tmp_path / "absent")
    assert nodeinfo.memory(tmp_path / "absent") == 0
    assert nodeinfo.mhz(tmp_path / "absent") == 0

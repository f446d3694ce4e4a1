"""The Linux guest on a real QEMU process."""

from __future__ import annotations

from pathlib import Path

from guests import console, linux, watch
from tests.guests.machines import Machine


def test_boots_counts_verifies_and_answers(tmp_path: Path) -> None:
    parameters = linux.LinuxParameters(mib=16, dirty_mib=8, dirty_mib_s=40, pass_s=0.2)
    out, line = tmp_path / "out", tmp_path / "line"
    arguments: list[str | Path] = [
        *("-kernel", linux.kernel(), "-initrd", linux.initramfs(), "-append", parameters.cmdline()),
        *("-chardev", f"file,id=out,path={out},append=on", "-device", "isa-serial,chardev=out,index=0"),
        *("-chardev", f"socket,id=in,path={line},server=on,wait=off", "-device", "isa-serial,chardev=in,index=1"),
    ]
    with (
        Machine(tmp_path, "m", parameters.memory_mib, "q35", arguments) as machine,
        watch.SerialWatch(out) as follow,
    ):
        follow.wait_running(timeout=90)
        follow.wait_verified(2)
        assert follow.reports[-1].generation > 0
        with console.Console(line) as talk:
            assert talk.verify().startswith("verify ok pages=4096 bad=0")
            talk.send(b"p")
            assert machine.process.wait(60) == 0
    follow.check()

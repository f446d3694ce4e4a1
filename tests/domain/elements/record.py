"""Records what this machine's libvirt makes of the definitions by element: as root, on Debian 12.

``python -m tests.domain.elements.record [NAME…]``. No guest is started.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from tests.domain.elements import FOLDER, NAMES, text
from tests.drivers.command.record import with_uuid, words
from tests.support.libvirtd import Libvirtd
from tests.support.virsh import virsh


def record(libvirtd: Libvirtd, name: str, folder: Path) -> None:
    """``folder`` is for files of one run. Raises ``AssertionError`` where libvirt refuses the definition."""
    xml = folder / f"{name}.xml"
    xml.write_text(with_uuid(text(name)), encoding="utf-8")
    virsh("define", str(xml), uri=libvirtd.uri).expect()
    defined = virsh("dumpxml", "--inactive", "--security-info", name, uri=libvirtd.uri).expect()
    virsh("undefine", name, "--nvram", uri=libvirtd.uri).expect()
    xml = FOLDER / f"{name}.defined.xml"
    xml.write_text(defined.strip() + "\n", encoding="utf-8")
    line = virsh("domxml-to-native", "qemu-argv", "--xml", str(xml), uri=libvirtd.uri)
    path = FOLDER / f"{name}.argv"
    path.unlink(missing_ok=True)
    if not line.ok:
        print(f"{name}: {line.err.strip()}")
        return
    told = list(words(line.out))
    at = next(place for place, word in enumerate(told) if '"masterKey0"' in word)
    del told[at - 1 : at + 1]
    plain = [re.sub(r"path=[^,]*/monitor.sock", "fd=9", word) for word in told]
    # Folders of one run of the guest.
    plain = [
        re.sub(r"/var/lib/libvirt/qemu/(channel/target/)?domain--1-[^/,\"]*", "/run/channels", word) for word in plain
    ]
    plain = [re.sub(r'/var/lib/libvirt/qemu/ram/[^"]*', "/run/ram", word) for word in plain]
    path.write_text("".join(f"{word}\n" for word in plain), encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="record-") as place, Libvirtd(Path(place, "libvirt")) as host:
        for each in sys.argv[1:] or NAMES:
            try:
                record(host, each, Path(place))
            except AssertionError as refused:
                print(f"{each}: {refused}")

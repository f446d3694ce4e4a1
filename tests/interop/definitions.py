"""``python -m tests.interop.definitions FOLDER``: libvirt's own test definitions, put to a libvirtd and to culvert.

FOLDER is ``tests/qemuxml2argvdata`` of libvirt's source (Debian's ``apt-get source libvirt``). Those for x86 are
defined with a libvirtd of this machine, which must take them; printed is how many of these culvert takes, how many it
shows to the letter, and what it refuses the others by.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import Counter
from pathlib import Path

from tests.interop.test_spellings import plain
from tests.support.daemon import DaemonProcess
from tests.support.libvirt_python import libvirt_python
from tests.support.libvirtd import Libvirtd

SECONDS = 900.0
EMULATOR = re.compile(r"<emulator>[^<]*qemu-system-(x86_64|i386)[^<]*</emulator>")
ARCHITECTURE = re.compile(r"<type[^>]*arch=['\"]([^'\"]*)")
PATH = re.compile(r"/domain[\w/@:\[\]='-]*")

# A definition that one has refused is tried again for an emulated guest: this machine may have no KVM.
DEFINE = """
    import json
    said = {}
    for name, xml in json.load(open(sys.argv[2])).items():
        for text in (xml, xml.replace("type='kvm'", "type='qemu'")):
            try:
                domain = connection.defineXML(text)
            except libvirt.libvirtError as error:
                said[name] = ["", error.get_error_message()]
                continue
            said[name] = [domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE), text]
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
            break
    print(json.dumps(said))
"""


def definitions(folder: Path) -> dict[str, str]:
    """Those for x86, by name, with Debian's emulators."""
    found = {}
    for path in sorted(folder.glob("*.xml")):
        text = path.read_text("utf-8")
        architecture = ARCHITECTURE.search(text)
        if architecture is None or architecture[1] in ("x86_64", "i686"):
            found[path.stem] = EMULATOR.sub(r"<emulator>/usr/bin/qemu-system-\1</emulator>", text)
    return found


def told(uri: str, asked: dict[str, str], folder: Path) -> dict[str, tuple[str, str]]:
    """By name: how it is shown, and the text that was taken; or nothing, and why it was refused."""
    file = folder / "definitions.json"
    file.write_text(json.dumps(asked), encoding="utf-8")
    said = json.loads(libvirt_python(DEFINE, uri, str(file), timeout=SECONDS))
    return {name: (plain(shown), text) for name, (shown, text) in said.items()}


def main() -> None:
    """Print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop.definitions", description=__doc__)
    parser.add_argument("folder", type=Path)
    asked = definitions(parser.parse_args().folder)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Libvirtd(folder / "l", name="libvirt") as stock:
            theirs = {name: said for name, said in told(stock.uri, asked, folder).items() if said[0]}
        with DaemonProcess(folder / "c", guarded=False) as daemon:
            ours = told(daemon.uri, {name: text for name, (_, text) in theirs.items()}, folder)
    taken = [name for name, (shown, _) in ours.items() if shown]
    same = [name for name in taken if ours[name][0] == theirs[name][0]]
    print(f"for x86 {len(asked)}, taken by libvirtd {len(theirs)}, by culvert {len(taken)}, shown alike {len(same)}")
    refused = Counter(path[0] if (path := PATH.search(why)) else why for shown, why in ours.values() if not shown)
    for words, count in refused.most_common():
        print(f"{count:5} {words}")


if __name__ == "__main__":
    main()

"""Two ways to write the same: rows of a place in a definition, how it is written, and how libvirt writes it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.domain.verdicts import PLACES, SHAPE, USUAL

CARD = "<interface type='user'><mac address='52:54:00:00:00:01'/>{}</interface>"
DISK = "<disk type='file' device='disk'>{}<target dev='vda' bus='virtio'/></disk>"
FILE = "<source file='/d'/>"
KERNEL = "<kernel>/k</kernel><initrd>/i</initrd><cmdline>a</cmdline>"
TCP = "<serial type='tcp'><source mode='bind' host='h' service='{}'/>{}<target port='0'/></serial>"
VNC = "<graphics type='vnc' {}/>"
RNG = "<rng model='virtio'>{}<backend model='random'>/dev/urandom</backend></rng>"
PLACED = "<rng model='virtio'><backend model='builtin'/><address type='pci' {}/></rng>"
EMULATOR = "<emulator>{}</emulator>"

ROWS: tuple[tuple[str, str, str], ...] = (
    # Units: letters of either case, a word, none at all.
    *(
        ("mem", f"<memory unit='{unit}'>{number}</memory>", f"<memory unit='KiB'>{kib}</memory>")
        for unit, number, kib in (
            *(("Mib", 64, 65536), ("MIB", 64, 65536), ("m", 64, 65536), ("gib", 1, 1 << 20), ("gb", 1, 976563)),
            *(("kb", 70000, 68360), ("K", 65536, 65536), ("byte", 67108864, 65536), ("", 65536, 65536)),
        )
    ),
    ("mem", "<memory>65536</memory><currentMemory/>", "<memory>65536</memory>"),
    ("mem", "<memory> 65536</memory>", "<memory>65536</memory>"),
    # Elements that are there and empty.
    *(
        ("top", f"<{tag}></{tag}>", "")
        for tag in (
            *("uuid", "title", "description", "on_poweroff", "on_reboot", "on_crash", "pm", "memoryBacking"),
            "clock",
        )
    ),
    ("top", "<memoryBacking><source/><access/></memoryBacking>", ""),
    ("top", "<pm><suspend-to-mem/></pm>", ""),
    ("os", "<kernel/><initrd/><cmdline/>", ""),
    ("os", f"{KERNEL}<bootmenu/>", KERNEL),
    ("features", "<features/>", ""),
    ("features", "<features><acpi/><acpi/><apic/><apic/></features>", "<features><acpi/><apic/></features>"),
    ("features", "<features><hap/></features>", "<features><hap state='on'/></features>"),
    ("cpu", "<cpu check='default'><model>qemu64</model><vendor/></cpu>", "<cpu><model>qemu64</model></cpu>"),
    ("clock", "<clock offset=''/>", "<clock offset='utc'/>"),
    ("devices", EMULATOR.format(""), ""),
    ("devices", DISK.format(f"{FILE}<serial/><wwn/><alias/>"), DISK.format(FILE)),
    ("devices", DISK.format(f"<driver cache='default' queues='0'/>{FILE}"), DISK.format(FILE)),
    ("devices", DISK.format(f"{FILE}{FILE}<readonly/><readonly/>"), DISK.format(f"{FILE}<readonly/>")),
    ("devices", CARD.format("<model type=''/><target/><rom/><driver/><mtu/><alias/>"), CARD.format("")),
    ("devices", CARD.format("<model/><mtu size='0'/>"), CARD.format("")),
    ("devices", CARD.format("<driver name='qemu'/>"), CARD.format("")),
    ("devices", "<interface><mac address='52:54:00:00:00:01'/></interface>", CARD.format("")),
    ("devices", "<serial><target/><alias/><log/></serial>", "<serial type='pty'><target port='0'/></serial>"),
    ("devices", TCP.format("55", ""), TCP.format("55", "<protocol type='raw'/>")),
    ("devices", TCP.format("55", "<protocol/>"), TCP.format("55", "<protocol type='raw'/>")),
    (
        "devices",
        "<channel><target type='virtio' name='a' state='none of them'/></channel>",
        "<channel type='pty'><target type='virtio' name='a'/></channel>",
    ),
    ("devices", VNC.format("autoport='YES' port='5999' listen=''"), VNC.format("autoport='no' port='5999'")),
    ("devices", VNC.format("autoport='yes' sharePolicy='default'"), VNC.format("autoport='yes'")),
    ("devices", "<video/>", "<video><model type='cirrus'/></video>"),
    ("devices", "<video><model type='vga' vram='' primary='1'/></video>", "<video><model type='vga'/></video>"),
    ("devices", "<video><model type='default'/></video>", "<video><model type='cirrus'/></video>"),
    ("devices", RNG.format("<rate/>"), RNG.format("")),
    ("devices", RNG.format("<rate bytes='10' period='0'/>"), RNG.format("<rate bytes='10'/>")),
    ("devices", "<memballoon model='virtio'><stats/></memballoon>", "<memballoon model='virtio'/>"),
    ("devices", "<memballoon model='virtio'><stats period='0'/></memballoon>", "<memballoon model='virtio'/>"),
    # Numbers: white space before them; places in any base.
    ("vcpu", "<vcpu> 1</vcpu>", "<vcpu>1</vcpu>"),
    ("devices", PLACED.format("slot='010'"), PLACED.format("slot='0x08'")),
    ("devices", PLACED.format("slot='+8'"), PLACED.format("slot='0x08'")),
    ("devices", PLACED.format("slot=' 0X8'"), PLACED.format("slot='0x08'")),
    # Names that are nobody's wish.
    ("devices", DISK.format(f"{FILE}<alias name='ua-a b'/>"), DISK.format(FILE)),
    ("devices", DISK.format(f"{FILE}<alias name='virtio-disk7'/>"), DISK.format(FILE)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spelling:
    """``written`` is to be read as ``plain`` is."""

    name: str
    written: str
    plain: str


def _filled(place: str, text: str) -> str:
    machine = "pc"
    return SHAPE.format(machine=machine, **{each: USUAL.get(each, "") for each in PLACES} | {place: text})


SPELLINGS = tuple(
    Spelling(f"{place}: {written}", _filled(place, written), _filled(place, plain)) for place, written, plain in ROWS
)

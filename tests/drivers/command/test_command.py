"""The command line, against libvirt's own and against a real QEMU."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from culvert.domain import firmware
from culvert.domain.cpu import Cpu, CpuFeature, CpuModel
from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.format import format
from culvert.domain.parse import parse
from culvert.drivers.qemu import nvram
from culvert.drivers.qemu.abilities import machines
from culvert.drivers.qemu.abilities.ability import Abilities, Ability
from culvert.drivers.qemu.command import command
from culvert.drivers.qemu.command.command import LaunchOptions, bootindexes
from culvert.drivers.qemu.command.command_memory import MemoryPlaces
from culvert.drivers.qemu.command.command_tpm import SOCKET
from culvert.ground import errors
from tests.domain import golden, ovmf

QEMU = os.environ.get("QEMU", "/usr/bin/qemu-system-x86_64")
SECONDS = 60

TAPS = dict(enumerate(range(20, 60)))
OPTIONS = LaunchOptions(monitor_fd=9, tap_fds=TAPS, channel_directory="/run/channels")
QEMU_7_2 = Abilities()
QEMU_9_0 = Abilities(frozenset({Ability.MACHINE_ACPI, Ability.MACHINE_HPET}))


def build(definition: DomainDef, options: LaunchOptions, abilities: Abilities = QEMU_7_2) -> list[str]:
    """As libvirt 9.0 has it, which is recorded with QEMU 7.2."""
    return command.build(definition, options, abilities)


@functools.cache
def here() -> Abilities:
    """Of the QEMU that is installed."""
    with tempfile.TemporaryDirectory() as place:
        return asyncio.run(machines.probe(QEMU, Path(place))).abilities


@pytest.mark.parametrize("name", golden.NAMES)
def test_is_the_command_line_of_libvirt(name: str) -> None:
    definition = golden.running(parse(golden.defined_text(name)))
    ours, theirs = build(definition, OPTIONS), golden.argv(name)
    assert [line for line in theirs if line not in ours] == []
    assert ours == theirs


def minimal(**changes: Any) -> DomainDef:
    return golden.running(replace(golden.complete("pc-minimal"), **changes))


def value(argv: list[str], flag: str) -> str:
    return argv[argv.index(flag) + 1]


@pytest.mark.parametrize(
    ("model", "features", "wanted"),
    [
        ("EPYC", (), "EPYC,monitor=off"),
        ("EPYC", (CpuFeature(name="svm"),), "EPYC,monitor=off,svm=on"),
        ("EPYC", (CpuFeature(name="monitor"),), "EPYC,monitor=on"),
        ("Icelake-Server", (), "Icelake-Server,intel-pt=off"),
        ("EPYC-Rome", (), "EPYC-Rome"),
    ],
)
def test_a_model_lacks_what_libvirt_has_removed_from_it(
    model: str, features: tuple[CpuFeature, ...], wanted: str
) -> None:
    cpu = Cpu(mode="custom", model=CpuModel(name=model), features=features)
    assert value(build(minimal(cpu=cpu), OPTIONS), "-cpu") == wanted


def test_incoming_comes_before_the_balloon_and_changes_nothing_else() -> None:
    plain = build(minimal(), OPTIONS)
    waiting = build(minimal(), replace(OPTIONS, incoming=True))
    at = waiting.index("-incoming")
    assert waiting[at : at + 2] == ["-incoming", "defer"]
    assert "virtio-balloon-pci" in waiting[at + 3]
    assert waiting[:at] + waiting[at + 2 :] == plain


def test_a_file_is_continued_on_the_destination() -> None:
    xml = golden.text("pc-console-to-file").replace(" append='on'", "")
    definition = golden.running(complete(parse(xml), golden.FACTS))
    assert any("append=off" in argument for argument in build(definition, OPTIONS))
    assert not any("append=off" in argument for argument in build(definition, replace(OPTIONS, incoming=True)))


def test_what_a_viewer_plugs_in_can_be_booted_from() -> None:
    """As libvirt 9.0 writes it (qemuBuildRedirdevDevProps); then nothing else is booted by its kind."""
    xml = golden.text("pc-minimal").replace(
        "<devices>",
        "<devices><graphics type='spice'/><redirdev bus='usb' type='spicevmc'><boot order='2'/></redirdev>",
    )
    xml = re.sub(r"<boot dev=[^>]*/>", "", xml)
    definition = golden.running(complete(parse(xml), golden.FACTS))
    [told] = [word for word in build(definition, OPTIONS) if "usb-redir" in word]
    assert list(json.loads(told)) == ["driver", "chardev", "id", "bootindex", "bus", "port"]
    assert json.loads(told)["bootindex"] == 2
    assert bootindexes(definition) == {"redir0": 2}


def test_hyperv_and_kvm_features() -> None:
    features = """<features><acpi/><apic eoi='on'/><hyperv mode='custom'><relaxed state='on'/><vapic state='on'/>
    <spinlocks state='on' retries='8191'/><vpindex state='on'/><runtime state='on'/><synic state='on'/>
    <stimer state='on'><direct state='on'/></stimer><reset state='on'/><vendor_id state='on' value='KVM Hv'/>
    <frequencies state='on'/><reenlightenment state='on'/><evmcs state='on'/><avic state='on'/></hyperv>
    <kvm><hidden state='on'/><hint-dedicated state='on'/><poll-control state='on'/><pv-ipi state='off'/></kvm>
    <pmu state='off'/><vmport/><smm state='off'/></features>"""
    text = golden.text("pc-minimal").replace("<devices>", features + "<devices>")
    argv = build(golden.running(complete(parse(text), golden.FACTS)), OPTIONS)
    assert value(argv, "-cpu") == (
        "qemu64,kvm-pv-eoi=on,hv-relaxed=on,hv-vapic=on,hv-spinlocks=0x1fff,hv-vpindex=on,hv-runtime=on,hv-synic=on,"
        "hv-stimer=on,hv-stimer-direct=on,hv-reset=on,hv-vendor-id=KVM Hv,hv-frequencies=on,hv-reenlightenment=on,"
        "hv-evmcs=on,hv-avic=on,kvm=off,kvm-hint-dedicated=on,kvm-poll-control=on,kvm-pv-ipi=off,pmu=off"
    )
    assert value(argv, "-machine") == (
        "pc-i440fx-7.2,usb=off,vmport=on,smm=off,dump-guest-core=off,memory-backend=pc.ram"
    )


@pytest.mark.parametrize(
    ("cpu", "argument"),
    [
        (Cpu(mode="host-passthrough", migratable=True), "host,migratable=on"),
        (Cpu(mode="host-passthrough", migratable=False), "host,migratable=off"),
        (Cpu(mode="maximum"), "max"),
        (
            Cpu(mode="custom", model=CpuModel(name="EPYC", vendor_id="GenuineIntel")),
            "EPYC,vendor=GenuineIntel,monitor=off",
        ),
    ],
)
def test_kvm_and_its_processors(cpu: Cpu, argument: str) -> None:
    argv = build(minimal(type="kvm", cpu=cpu), OPTIONS)
    assert (value(argv, "-accel"), value(argv, "-cpu")) == ("kvm", argument)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("q35-virt-install", "-no-hpet", "hpet=off,acpi=on"),
        ("pc-minimal", "-no-acpi", "acpi=off"),
        ("q35-everything", "", "hpet=on,acpi=on"),
    ],
)
def test_options_that_are_gone_are_parameters_of_the_machine(name: str, old: str, new: str) -> None:
    definition = golden.running(golden.complete(name))
    before, after = (build(definition, OPTIONS, abilities) for abilities in (QEMU_7_2, QEMU_9_0))
    assert [word for word in before if word not in after] == [value(before, "-machine"), *([old] if old else [])]
    assert [word for word in after if word not in before] == [f"{value(before, '-machine')},{new}"]


def test_vhost_is_used_where_it_was_opened() -> None:
    definition = golden.running(golden.complete("pc-bridge-and-tap"))
    argv = build(definition, replace(OPTIONS, vhost_fds={0: 40}))
    assert value(argv, "-netdev") == '{"type":"tap","fd":"20","vhost":true,"vhostfd":"40","id":"hostnet0"}'


def with_devices(markup: str) -> DomainDef:
    """A small domain with ``markup`` among its devices."""
    xml = golden.text("pc-minimal")
    return complete(parse(xml.replace("</devices>", f"{markup}</devices>")), golden.FACTS)


def test_each_queue_has_its_own_descriptor() -> None:
    """The words are libvirt 9.0's (qemu/qemu_command.c: qemuBuildHostNetProps, qemuBuildNicDevProps)."""
    card = "<interface type='bridge'><source bridge='b'/><model type='virtio'/><driver queues='2'/></interface>"
    argv = build(golden.running(with_devices(card)), replace(OPTIONS, tap_fds={0: (20, 21)}, vhost_fds={0: (40, 41)}))
    assert value(argv, "-netdev") == '{"type":"tap","fds":"20:21","vhost":true,"vhostfds":"40:41","id":"hostnet0"}'
    [card] = [word for word in argv if '"netdev":"hostnet0"' in word]
    assert '"mq":true,"vectors":6' in card


def test_passt_is_at_the_other_end_of_a_pair_of_sockets() -> None:
    card = "<interface type='user'><model type='virtio'/><backend type='passt'/></interface>"
    argv = build(golden.running(with_devices(card)), replace(OPTIONS, tap_fds={0: (20,)}))
    told = '{"type":"stream","addr":{"type":"fd","str":"20"},"server":false,"id":"hostnet0"}'
    assert value(argv, "-netdev") == told


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ("type='server'><source address='192.168.0.1' port='5558'/>", '"listen":"192.168.0.1:5558"'),
        ("type='server'><source port='5558'/>", '"listen":":5558"'),
        ("type='client'><source address='192.168.0.1' port='5558'/>", '"connect":"192.168.0.1:5558"'),
        ("type='mcast'><source address='224.0.0.9' port='5558'/>", '"mcast":"224.0.0.9:5558"'),
        (
            "type='udp'><source address='127.0.0.1' port='5555'><local address='127.0.0.1' port='5556'/></source>",
            '"udp":"127.0.0.1:5555","localaddr":"127.0.0.1:5556"',
        ),
        (
            "type='user'><ip address='172.17.2.0' prefix='24'/><ip address='2001:db8::' family='ipv6' prefix='64'/>",
            '"net":"172.17.2.0/24","ipv6-prefix":"2001:db8::","ipv6-prefixlen":64',
        ),
    ],
)
def test_cards_without_a_device_of_the_host(card: str, told: str) -> None:
    """As libvirt 9.0 has them (its tests/qemuxml2argvdata)."""
    argv = build(golden.running(with_devices(f"<interface {card}</interface>")), OPTIONS)
    assert told in value(argv, "-netdev")


CARDS = (
    "virtio-transitional",
    "virtio-non-transitional",
    "pcnet",
    "ne2k_pci",
    "vmxnet3",
    "i82551",
    "i82557b",
    "i82559er",
)


@pytest.mark.skipif(not Path(QEMU).exists(), reason=f"no {QEMU}")
def test_qemu_has_cards_of_every_kind(folder: Path) -> None:
    kinds = "".join(f"<interface type='user'><model type='{model}'/></interface>" for model in CARDS)
    driver = "<driver rss='on' rss_hash_report='on' packed='on' page_per_vq='off' iommu='off' ats='off' queues='2'/>"
    more = (
        f"<interface type='user'><model type='virtio'/>{driver}</interface>"
        "<interface type='user'><ip address='172.17.2.0' prefix='24'/></interface>"
        "<interface type='mcast'><source address='230.0.0.1' port='5558'/></interface>"
        "<interface type='server'><source address='127.0.0.1' port='35558'/></interface>"
    )
    with qemu(golden.running(with_devices(kinds + more)), folder) as call:
        assert call("query-status")["status"] == "prelaunch"


def test_names_cannot_add_options() -> None:
    argv = build(minimal(name="a,debug-threads=off"), OPTIONS)
    assert value(argv, "-name") == "guest=a,,debug-threads=off,debug-threads=on"


def test_without_backing_store_the_image_decides() -> None:
    definition = golden.running(golden.complete("pc-direct-kernel"))
    disk = replace(definition.devices.disks[0], backing_store=None)
    argv = build(replace(definition, devices=replace(definition.devices, disks=(disk,))), OPTIONS)
    assert not any('"backing"' in argument for argument in argv)


def test_boot_order_of_devices_or_of_kinds() -> None:
    assert bootindexes(golden.running(golden.complete("q35-boot-order"))) == {
        "net0": 1,
        "sata0-0-1": 2,
        "virtio-disk0": 3,
    }
    assert bootindexes(golden.running(golden.complete("pc-everything"))) == {"virtio-disk0": 2, "net3": 1}


@pytest.mark.parametrize(
    ("definition", "options", "what"),
    [
        (golden.complete("pc-minimal"), LaunchOptions(), "no monitor socket"),
        (parse(golden.text("pc-minimal")), OPTIONS, "is not complete"),
        (golden.running(golden.complete("pc-bridge-and-tap")), LaunchOptions(monitor_fd=3), "has no tap device"),
        (golden.complete("pc-vnc-console"), OPTIONS, "the VNC server has no port"),
        (golden.running(golden.complete("pc-vnc-console"), port=80), OPTIONS, "must be 5900 or above"),
        (golden.running(golden.complete("q35-virt-install")), LaunchOptions(monitor_fd=3), "has no socket path"),
        (
            replace(minimal(), cpu=Cpu(mode="host-model")),
            OPTIONS,
            "host-model CPU of domain 'pc-minimal' is not settled",
        ),
        (minimal(cpu=Cpu(mode="host-passthrough")), OPTIONS, "'host-passthrough'"),
    ],
)
def test_what_cannot_be_built(definition: DomainDef, options: LaunchOptions, what: str) -> None:
    with pytest.raises(errors.RequestError, match=what):
        build(definition, options)


# --- a real QEMU ---


@contextlib.contextmanager
def monitor(argv: list[str], listener: socket.socket) -> Iterator[Any]:
    """A QEMU started with ``argv``, and its monitor as a function: call(command, arguments) → return value."""
    process = subprocess.Popen(
        argv, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SECONDS)
            connection.connect(listener.getsockname())
            listener.close()
            with connection.makefile("rw") as stream:
                greeting = stream.readline()
                if not greeting:
                    output = process.communicate(timeout=SECONDS)[0].decode()
                    pytest.fail(f"QEMU did not start: {output}")

                def call(command: str, arguments: dict[str, Any] | None = None) -> Any:
                    stream.write(json.dumps({"execute": command, "arguments": arguments or {}}) + "\n")
                    stream.flush()
                    while "return" not in (answer := json.loads(stream.readline())):
                        assert "error" not in answer, answer
                    return answer["return"]

                call("qmp_capabilities")
                yield call
                call("quit")
        assert process.wait(SECONDS) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextlib.contextmanager
def qemu(definition: DomainDef, place: Path, *, incoming: bool = False) -> Iterator[Any]:
    """A QEMU started from ``definition``; sockets of channels without a path are made in ``place``."""
    place.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "monitor"))
        listener.listen(1)
        options = LaunchOptions(
            monitor_fd=listener.fileno(),
            incoming=incoming,
            channel_directory=str(place),
            memory=MemoryPlaces(files=str(place)),
        )
        argv = build(definition, options, here())
        # Which ports are free is the driver's business: here QEMU looks for one itself, on an address that is there.
        for at in (place for place, one in enumerate(argv) if one == "-vnc"):
            argv[at + 1] = argv[at + 1].replace("[::1]", "127.0.0.1") + (",to=99" if ":0," in argv[at + 1] else "")
        for at in (place for place, one in enumerate(argv) if one == "-spice"):
            argv[at + 1] = re.sub(r"^port=[1-9][0-9]*,addr=127.0.0.1", f"unix=on,addr={place}/spice", argv[at + 1])
        with emulated(definition, place), monitor(argv, listener) as call:
            yield call


@contextlib.contextmanager
def emulated(definition: DomainDef, place: Path) -> Iterator[None]:
    """The emulator of the TPM, if there is one; it ends with QEMU's connection."""
    if not definition.devices.tpms:
        yield
        return
    if shutil.which("swtpm") is None:
        pytest.skip("no swtpm")
    two = definition.devices.tpms[0].backend.version == "2.0"
    words = ["swtpm", "socket", "--ctrl", f"type=unixio,path={place}/{SOCKET}", "--tpmstate", f"dir={place}"]
    with subprocess.Popen([*words, "--terminate", *(["--tpm2"] if two else [])]) as running:
        try:
            deadline = time.monotonic() + SECONDS
            while not (place / SOCKET).exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            yield
        finally:
            running.terminate()


def images(folder: Path) -> None:
    (folder / "slic,1.bin").write_bytes(bytes(64))
    for number in range(1, 6):
        (folder / f"d{number}.raw").write_bytes(bytes(1 << 20))
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", str(folder / f"d{number}.qcow2"), "1M"],
            check=True,
            timeout=SECONDS,
        )
    shutil.copy("/usr/share/seabios/bios-256k.bin", folder / "vmlinuz")


# These need a bridge, a network, and servers.
UNSTARTABLE = ("pc-bridge-and-tap", "pc-network-cards", "pc-tcp-serial", "q35-network-disks")
STARTABLE = [name for name in golden.NAMES if name not in UNSTARTABLE]


@pytest.mark.skipif(not Path(QEMU).exists(), reason=f"no {QEMU}")
@pytest.mark.parametrize("incoming", [False, True], ids=["start", "incoming"])
@pytest.mark.parametrize("name", STARTABLE)
def test_qemu_starts(name: str, incoming: bool, folder: Path) -> None:
    images(folder)
    text = golden.text(name).replace("/srv/vm", str(folder)).replace("io='native'", "io='threads'")
    definition = complete(parse(text), replace(golden.FACTS, emulator=QEMU, nvram=str(folder)))
    started = golden.running(definition, nvram=str(folder))
    if firmware.is_uefi(started.os):
        if not Path(ovmf.PLACE).exists():
            pytest.skip("no firmware: the package ovmf is not installed")
        nvram.make(started, reset=False)
    with qemu(started, folder, incoming=incoming) as call:
        assert call("query-status")["status"] == ("inmigrate" if incoming else "prelaunch")
        assert len(call("query-block")) >= len([disk for disk in definition.devices.disks if disk.path])


MOVED = ["pc-minimal", "pc-everything", "q35-everything", "q35-virt-install", "pc-ich9-usb", "q35-vga-vnc-rng"]


@pytest.mark.skipif(not Path(QEMU).exists(), reason=f"no {QEMU}")
@pytest.mark.parametrize("name", MOVED)
def test_what_travels_starts_a_qemu_that_takes_the_state(name: str, folder: Path) -> None:
    images(folder)
    text = golden.text(name).replace("/srv/vm", str(folder)).replace("io='native'", "io='threads'")
    source = golden.running(complete(parse(text), replace(golden.FACTS, emulator=QEMU)))
    arrived = golden.running(golden.defined(format(source, migratable=True, secure=True), source))
    uri = f"unix:{folder}/stream"
    with (
        qemu(arrived, folder / "destination", incoming=True) as destination,
        qemu(source, folder / "source") as outgoing,
    ):
        destination("migrate-incoming", {"uri": uri})
        outgoing("migrate", {"uri": uri})
        deadline = time.monotonic() + SECONDS
        while outgoing("query-migrate")["status"] not in ("completed", "failed") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert outgoing("query-migrate")["status"] == "completed"
        while destination("query-status")["status"] == "inmigrate" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert destination("query-status")["status"] in ("paused", "prelaunch")


@pytest.mark.parametrize("wwn", ["5000c50015ea71ad", "0x5000c50015ea71ad", "5000C50015EA71AD"])
def test_a_wwn_is_a_number(wwn: str) -> None:
    """QEMU takes no text for it in JSON."""
    disk = f"<disk><source file='/d'/><target dev='hda'/><wwn>{wwn}</wwn></disk>"
    xml = golden.text("pc-minimal").replace("<devices>", f"<devices>{disk}", 1)
    argv = build(golden.running(complete(parse(xml), golden.FACTS)), LaunchOptions(monitor_fd=9))
    device = next(json.loads(word) for word in argv if word.startswith('{"driver":"ide-hd"'))
    assert device["wwn"] == 0x5000C50015EA71AD

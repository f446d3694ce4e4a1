"""What managers of many hosts write into every definition: sysinfo, vmcoreinfo, shares, pins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain import abi, scalars, start, validate
from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.format import format
from culvert.domain.parse import parse
from culvert.drivers.qemu.abilities.ability import NONE
from culvert.drivers.qemu.command import command
from culvert.drivers.qemu.command.command import LaunchOptions
from culvert.ground import errors
from tests.domain import golden

BASE = "<domain type='qemu'><name>g</name>{top}<memory>65536</memory><os><type>hvm</type>{os}</os>{features}</domain>"
SYSINFO = "<sysinfo type='{type}'>{inner}</sysinfo>"


def defined(top: str = "", os: str = "", features: str = "") -> DomainDef:
    definition = complete(parse(BASE.format(top=top, os=os, features=features)), golden.FACTS)
    validate.check(definition)
    return definition


@pytest.mark.parametrize(
    ("text", "numbers", "written"),
    [
        ("0", {0}, "0"),
        ("0-3,^2", {0, 1, 3}, "0-1,3"),
        (" 7 , 1,0", {0, 1, 7}, "0-1,7"),
        ("1,0-1", {0, 1}, "0-1"),
    ],
)
def test_a_set_of_processors(text: str, numbers: set[int], written: str) -> None:
    assert scalars.CPU_SET.read(text, "/x") == numbers
    assert scalars.CPU_SET.write(frozenset(numbers)) == written


@pytest.mark.parametrize("text", ["", "x", "1-", "3-1", "^0", "0,^0", "1,,2", "16384", "0-99999", "-1"])
def test_what_is_no_set(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="/x"):
        scalars.CPU_SET.read(text, "/x")


@pytest.mark.parametrize(
    ("top", "os", "refusal", "what"),
    [
        (SYSINFO.format(type="smbios", inner="<system><entry name='foo'>x</entry></system>"), "",
         errors.ConfigUnsupported, "'foo' of <system>"),
        (SYSINFO.format(type="smbios", inner="<bios><entry name='date'>x</entry></bios>"), "",
         errors.XMLDetail, "BIOS 'date'"),
        ("<uuid>11111111-2222-4333-8444-000000000009</uuid>" + SYSINFO.format(
            type="smbios", inner="<system><entry name='uuid'>11111111-2222-4333-8444-000000000008</entry></system>"),
         "", errors.XMLDetail, "UUID mismatch"),
        ("", "<smbios mode='host'/>", errors.ConfigUnsupported, "/domain/os/smbios/@mode"),
        ("<cputune><period>10</period></cputune>", "", errors.ConfigUnsupported, "/domain/cputune/period"),
        ("<cputune><quota>10</quota></cputune>", "", errors.ConfigUnsupported, "quota is 1000"),
        ("<cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='0' cpuset='1'/></cputune>", "",
         errors.InternalError, "pinned twice"),
        ("<cputune><cachetune vcpus='0'/></cputune>", "", errors.ConfigUnsupported, "cachetune"),
    ],
)  # fmt: skip
def test_what_cannot_be(top: str, os: str, refusal: type[errors.RequestError], what: str) -> None:
    with pytest.raises(refusal) as refused:
        defined(top, os)
    assert what in str(refused.value)


def test_the_uuid_is_that_of_the_sysinfo_where_nothing_else_is_said() -> None:
    told = "<system><entry name='uuid'>AAAAAAAA-2222-4333-8444-000000000008</entry></system>"
    definition = defined(SYSINFO.format(type="smbios", inner=told))
    assert definition.uuid == "aaaaaaaa-2222-4333-8444-000000000008"
    assert complete(parse(format(definition)), golden.FACTS) == definition


def test_a_start_without_the_sysinfo_that_is_asked_for() -> None:
    with pytest.raises(errors.XMLError, match="sysinfo are not available"):
        start.prepare(defined(os="<smbios mode='sysinfo'/>"))


@pytest.mark.parametrize(
    "told", ["<quota>-1</quota>", "<period>100000</period>", "<emulator_quota>5000</emulator_quota>"]
)
def test_what_takes_a_control_group_is_refused_at_the_start(told: str) -> None:
    """As a libvirtd says it on a host without one; shares it takes there."""
    start.prepare(defined("<cputune><shares>1024</shares></cputune>"))
    with pytest.raises(errors.ConfigUnsupported, match="cgroup cpu is required for scheduler tuning"):
        start.prepare(defined(f"<cputune>{told}</cputune>"))


def test_names_cannot_add_options() -> None:
    told = "<system><entry name='product'>a,uuid=b</entry></system>"
    file = SYSINFO.format(type="fwcfg", inner="<entry name='opt/a'>b,file=/etc/shadow</entry>")
    definition = defined(SYSINFO.format(type="smbios", inner=told) + file, "<smbios mode='sysinfo'/>")
    argv = command.build(golden.running(definition), LaunchOptions(monitor_fd=9), NONE)
    assert argv[argv.index("-smbios") + 1] == "type=1,product=a,,uuid=b"
    assert argv[argv.index("-fw_cfg") + 1] == "name=opt/a,string=b,,file=/etc/shadow"


def test_what_the_guest_sees_must_stay_and_where_it_runs_need_not() -> None:
    source = golden.complete("pc-managers")
    abi.check(source, replace(source, cputune=None, numatune=None))
    with pytest.raises(errors.ConfigUnsupported, match="/domain/sysinfo"):
        abi.check(source, replace(source, sysinfo=()))
    assert source.features is not None
    with pytest.raises(errors.ConfigUnsupported, match="/domain/features/vmcoreinfo"):
        abi.check(source, replace(source, features=replace(source.features, vmcoreinfo=None)))

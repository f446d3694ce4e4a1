"""The declarative binder, on a small class of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from culvert.domain import binding, xml
from culvert.domain.definition import DomainDef
from culvert.domain.scalars import ANY_TEXT, UINT, one_of
from culvert.ground import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    size: Annotated[int, binding.attribute("size", UINT)]
    note: Annotated[str | None, binding.content(ANY_TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Petrol:
    octane: Annotated[int, binding.attribute("octane", UINT)] = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    volts: Annotated[int | None, binding.attribute("volts", UINT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    bags: Annotated[tuple[Current, ...], binding.children("bag", Current)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Car:
    make: Annotated[str, binding.attribute("make")]
    owner: Annotated[str | None, binding.leaf("owner", silent=("", "nobody"))] = None
    colour: Annotated[str | None, binding.lone("paint", "colour", one_of("red", "blue"))] = None
    towbar: Annotated[bool, binding.flag("towbar")] = False
    boot: Annotated[int | None, binding.amount("boot")] = None
    spare: Annotated[Wheel | None, binding.child("spare", Wheel)] = None
    wheels: Annotated[tuple[Wheel, ...], binding.children("wheel", Wheel)] = ()
    engine: Annotated[
        Petrol | Current | None, binding.variant("engine", "type", {"petrol": Petrol, "current": Current})
    ] = None
    papers: Annotated[str | None, binding.verbatim("papers")] = None
    plate: Annotated[int | None, binding.lone("plate", "number", UINT, needed=True)] = None
    radio: Annotated[Current | None, binding.child("radio", Current, hollow="volts")] = None
    lamp: Annotated[Petrol | None, binding.child("lamp", Petrol, hollow=binding.ANY)] = None
    trunk: Annotated[Trunk | None, binding.child("trunk", Trunk)] = None


def read(text: str) -> Car:
    return binding.read(Car, xml.read(text), "/car")


FULL = """<car make='a'>
  <owner>b</owner>
  <paint colour='red'/>
  <towbar/>
  <boot unit='KiB'>2048</boot>
  <spare size='1'>worn</spare>
  <wheel size='2'/>
  <wheel size='3'/>
  <engine type='current' volts='4'/>
  <papers>
    <p/>
  </papers>
</car>
"""


def test_every_kind_is_read() -> None:
    assert read(FULL.replace("<boot unit='KiB'>2048", "<boot unit='MiB'>2")) == Car(
        make="a",
        owner="b",
        colour="red",
        towbar=True,
        boot=2048,
        spare=Wheel(size=1, note="worn"),
        wheels=(Wheel(size=2), Wheel(size=3)),
        engine=Current(volts=4),
        papers="    <p/>",
    )


def test_every_kind_is_written_in_the_order_of_the_fields() -> None:
    assert xml.render(binding.write(read(FULL), "car")) == FULL


def test_what_was_not_said_is_not_written() -> None:
    assert xml.render(binding.write(Car(make="a"), "car")) == "<car make='a'/>\n"


@pytest.mark.parametrize(
    ("text", "error", "what"),
    [
        ("<car make='a' wings='2'/>", errors.ConfigUnsupported, "attribute /car/@wings is not supported by culvert"),
        ("<car make='a'>\n<sail/></car>", errors.ConfigUnsupported, r"element /car/sail .* \(line 2\)"),
        ("<car make='a'><wheel size='1'><nut/></wheel></car>", errors.ConfigUnsupported, "/car/wheel/nut"),
        ("<car make='a'><owner age='1'>b</owner></car>", errors.ConfigUnsupported, "/car/owner/@age"),
        ("<car make='a'><paint colour='red' coats='2'/></car>", errors.ConfigUnsupported, "/car/paint/@coats"),
        ("<car make='a'><paint colour='green'/></car>", errors.ConfigUnsupported, "supported: red, blue"),
        ("<car make='a'><towbar><x/></towbar></car>", errors.ConfigUnsupported, "/car/towbar/x"),
        ("<car make='a'><engine type='steam'/></car>", errors.ConfigUnsupported, "/car/engine/@type 'steam'"),
        ("<car make='a'><x:y xmlns:x='u'/></car>", errors.ConfigUnsupported, "/car/{u}y"),
        ("<car/>", errors.XMLError, "/car/@make is missing"),
        ("<car make='a'><wheel/></car>", errors.XMLError, "/car/wheel/@size is missing"),
        ("<car make='a'><engine/></car>", errors.XMLError, "/car/engine/@type is missing"),
        ("<car make='a'><plate/></car>", errors.XMLError, "/car/plate/@number is missing"),
        (
            "<car make='a'><owner>b</owner><owner>c</owner></car>",
            errors.XMLError,
            "/car/owner is there more than once",
        ),
        (
            "<car make='a'><trunk><bag/></trunk><trunk><bag/></trunk></car>",
            errors.XMLError,
            "/car/trunk is there more than once",
        ),
        ("<car make='a'>vroom</car>", errors.XMLError, "/car does not take text"),
        ("<car make='a'><towbar/>vroom</car>", errors.XMLError, "/car does not take text"),
        ("<car make='a'><towbar>vroom</towbar></car>", errors.XMLError, "/car/towbar does not take text"),
        ("<car make='a'><boot unit='ells'>1</boot></car>", errors.XMLError, "unknown suffix 'ells'"),
    ],
)
def test_refuses_by_path(text: str, error: type[errors.RequestError], what: str) -> None:
    with pytest.raises(error, match=what.replace("{u}", r"\{u\}")):
        read(text)


@pytest.mark.parametrize(
    "inner",
    [
        "<owner/>",
        "<owner>nobody</owner>",
        "<paint/>",
        "<boot></boot>",
        "<boot unit='MiB'/>",
        "<radio/>",
        "<lamp/>",
        "<lamp octane='95'/>",
        "<owner/><owner/>",
    ],
)
def test_what_says_nothing_is_not_given(inner: str) -> None:
    assert read(f"<car make='a'>{inner}</car>") == Car(make="a")


def test_what_is_said_again_is_said_once() -> None:
    twice = "<towbar/><owner>b</owner><paint colour='red'/><spare size='1'/>" * 2
    once = Car(make="a", towbar=True, owner="b", colour="red", spare=Wheel(size=1))
    assert read(f"<car make='a'>{twice}</car>") == once


def test_a_field_without_binding_is_a_mistake_of_the_programmer() -> None:
    @dataclass(frozen=True)
    class Wrong:
        field: int

    with pytest.raises(TypeError, match=r"Wrong\.field has no binding"):
        binding.table(Wrong)


def test_the_table_says_what_is_supported() -> None:
    known: dict[str, Any] = dict(binding.supported(DomainDef, "/domain"))
    assert known["/domain/@type"] == "qemu | kvm"
    assert known["/domain/devices/disk/driver/@cache"].startswith("default | none")
    assert known["/domain/devices/disk/address[@type='pci']/@slot"] == "number"
    assert "/domain/devices/hostdev" not in known

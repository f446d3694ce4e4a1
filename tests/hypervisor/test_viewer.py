"""Where who looks at a guest goes on looking."""

from __future__ import annotations

from uuid import UUID

import pytest

from culvert.ground import errors
from culvert.hypervisor import viewer
from culvert.hypervisor.viewer import Screen
from culvert.migration.options import cookie
from culvert.migration.options.cookie import Cookie
from tests.domain import elements

XML = """<domain type='qemu'><name>g</name><memory>65536</memory><os><type>hvm</type></os>
<devices><graphics type='vnc'/>{}</devices></domain>"""


@pytest.mark.parametrize(
    ("screen", "wanted"),
    [
        ("<graphics type='spice' port='5930' listen='0.0.0.0'/>", Screen(type="spice", port=5930, listen="0.0.0.0")),
        ("<graphics type='spice' port='5930'/>", Screen(type="spice", port=5930, listen="127.0.0.1")),
        ("<graphics type='spice'/>", None),
        ("<graphics type='spice'><listen type='socket'/></graphics>", None),
        ("", None),
    ],
)
def test_the_first_spice_server_that_listens(screen: str, wanted: Screen | None) -> None:
    assert viewer.of(elements.completed(XML.format(screen))) == wanted


def test_one_that_listens_everywhere_is_at_its_host() -> None:
    assert Screen(type="spice", port=1, listen="::").seen_from("host-b").listen == "host-b"
    assert Screen(type="spice", port=1, listen="10.0.0.1").seen_from("host-b").listen == "10.0.0.1"


def test_who_asks_for_a_place_has_it() -> None:
    told = Screen(type="spice", port=5930, tls_port=5931, listen="10.0.0.1", subject="CN=b")
    assert viewer.asked("spice://10.1.0.1", told) == Screen(
        type="spice", port=5930, tls_port=5931, listen="10.1.0.1", subject="CN=b"
    )
    assert viewer.asked("spice://h:7?tlsPort=8&tlsSubject=CN%3Dx", None) == Screen(
        type="spice", port=7, tls_port=8, listen="h", subject="CN=x"
    )
    assert not viewer.asked("vnc://h:5900", None).is_followed


@pytest.mark.parametrize("uri", ["spice://h:x", "spice://h?tlsPort=x", "rdp://h", "h:5900"])
def test_a_place_that_is_none(uri: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        viewer.asked(uri, None)


@pytest.mark.parametrize("subject", ["", "O=test,CN=b"])
def test_it_travels_in_a_cookie(subject: str) -> None:
    screen = Screen(type="spice", port=5930, tls_port=-1, listen="10.0.0.1", subject=subject)
    made = Cookie(name="g", uuid=UUID(int=1), hostname="b", host_uuid=UUID(int=2), screen=screen)
    assert cookie.parse(cookie.build(made)) == made


def test_as_libvirt_writes_it() -> None:
    text = (
        "<qemu-migration><name>g</name><uuid>11111111-2222-4333-8444-000000000001</uuid><hostname>b</hostname>"
        "<hostuuid>11111111-2222-4333-8444-000000000002</hostuuid>"
        "<graphics type='spice' port='5900' listen='127.0.0.1' tlsPort='5901'><cert info='subject' value='CN=b'/>"
        "</graphics></qemu-migration>\0"
    )
    screen = cookie.parse(text.encode()).screen
    assert screen == Screen(type="spice", port=5900, tls_port=5901, listen="127.0.0.1", subject="CN=b")


def test_a_port_that_is_none_is_no_cookie() -> None:
    text = (
        "<qemu-migration><name>g</name><uuid>11111111-2222-4333-8444-000000000001</uuid><hostname>b</hostname>"
        "<hostuuid>11111111-2222-4333-8444-000000000002</hostuuid><graphics type='spice' port='x'/>"
        "</qemu-migration>\0"
    )
    with pytest.raises(errors.InternalError):
        cookie.parse(text.encode())

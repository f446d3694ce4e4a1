"""What an image stands on, by its header: real images of qemu-img, and headers that lie."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from culvert.domain.disk_source import BackingStore
from culvert.drivers.qemu import chain
from culvert.ground import errors


def made(path: Path, *options: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "1M"], check=True, timeout=60)
    return path


def files(store: BackingStore | None) -> list[tuple[str | None, str | None]]:
    found = []
    while store is not None and store.type is not None:
        found.append((store.path, store.format))
        store = store.backing_store
    return found


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_a_chain_of_three(tmp_path: Path, compat: str) -> None:
    (tmp_path / "base.raw").write_bytes(bytes(1 << 20))
    made(tmp_path / "middle", "-o", f"compat={compat}", "-b", "base.raw", "-F", "raw")
    top = made(tmp_path / "top", "-o", f"compat={compat}", "-b", str(tmp_path / "middle"), "-F", "qcow2")
    found = chain.below(str(top), "qcow2")
    assert files(found) == [(str(tmp_path / "middle"), "qcow2"), (str(tmp_path / "base.raw"), "raw")]
    assert chain.below(str(tmp_path / "base.raw"), "raw") == chain.END


def test_one_that_stands_alone(tmp_path: Path) -> None:
    assert chain.below(str(made(tmp_path / "a")), "qcow2") == chain.END
    assert chain.below("/no/such", "raw") == chain.END
    assert chain.below("/no/such", "vmdk") is None  # of this QEMU knows


def header(path: Path, name: bytes, *, size: int | None = None, extensions: bytes = b"") -> Path:
    """A version 3 header that names ``name``."""
    head = bytearray(104)
    struct.pack_into(">4sI", head, 0, b"QFI\xfb", 3)
    struct.pack_into(">QI", head, 8, 104 + len(extensions) + 8, len(name) if size is None else size)
    struct.pack_into(">I", head, 100, 104)
    path.write_bytes(bytes(head) + extensions + bytes(8) + name)
    return path


def test_a_base_of_which_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(512))
    found = chain.below(str(header(tmp_path / "a", b"raw")), "qcow2")
    assert files(found) == [(str(tmp_path / "raw"), "raw")]
    made(tmp_path / "over", "-b", "raw", "-F", "raw")
    with pytest.raises(errors.OperationFailed, match="was not specified in the image metadata"):
        chain.below(str(header(tmp_path / "b", b"over")), "qcow2")


def test_a_base_that_is_not_there_and_one_without_an_end(tmp_path: Path) -> None:
    with pytest.raises(errors.SystemCallError, match="Cannot access backing file"):
        chain.below(str(header(tmp_path / "a", b"/no/such")), "qcow2")
    told = struct.pack(">II", 0xE2792ACA, 5) + b"qcow2\0\0\0"
    with pytest.raises(errors.OperationFailed, match="maximum depth"):
        chain.below(str(header(tmp_path / "loop", b"loop", extensions=told)), "qcow2")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (b"nbd://server.example:10810/export", ("network", "nbd", "export")),
        (b"https://www.example/a.img?x=1", ("network", "https", "a.img")),
        (b'json:{"driver":"qcow2","file":{"driver":"file","filename":"/F"}}', ("file", None, None)),
        (b"file:F", ("file", None, None)),
        (b"rbd:pool/image", None),
        (b"fat://x", None),
        (b"json:{", None),
    ],
)
def test_what_a_name_can_say(tmp_path: Path, name: bytes, wanted: tuple[str, str | None, str | None] | None) -> None:
    (tmp_path / "F").write_bytes(bytes(512))
    told = name.replace(b'"/F"', f'"{tmp_path}/F"'.encode())
    found = chain.below(str(header(tmp_path / "a", told)), "qcow2")
    if wanted is None:
        assert found is None
        return
    assert found is not None
    assert found.source is not None
    assert (found.type, found.source.protocol, found.source.name) == wanted


@pytest.mark.parametrize("cut", [0, 4, 19, 20, 103, 110])
def test_headers_that_are_cut_short_say_nothing(tmp_path: Path, cut: int) -> None:
    whole = header(tmp_path / "a", b"x").read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(whole[:cut])
    (tmp_path / "x").write_bytes(bytes(512))
    assert chain.below(str(path), "qcow2") in (chain.END, None)

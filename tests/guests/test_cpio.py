"""The archive writer, read back by cpio itself where there is one and by the format's own rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guests import cpio

members = st.lists(
    st.builds(
        cpio.Member,
        name=st.text("abcdef/", min_size=1, max_size=40),
        mode=st.integers(0, 0o177777),
        data=st.binary(max_size=50),
        device=st.tuples(st.integers(0, 255), st.integers(0, 255)),
    ),
    max_size=5,
)


def read_back(archive: bytes) -> list[cpio.Member]:
    """A reader after the format description, independent of the writer."""
    found: list[cpio.Member] = []
    while True:
        assert archive[:6] == b"070701"
        fields = [int(archive[6 + 8 * i : 14 + 8 * i], 16) for i in range(13)]
        size, name_size = fields[6], fields[11]
        name = archive[110 : 110 + name_size - 1].decode()
        start = -(-(110 + name_size) // 4) * 4
        data = archive[start : start + size]
        archive = archive[-(-(start + size) // 4) * 4 :]
        if name == "TRAILER!!!":
            assert archive == b""
            return found
        found.append(cpio.Member(name, fields[1], data, (fields[9], fields[10])))


@given(members)
def test_what_is_written_is_read_back(listed: list[cpio.Member]) -> None:
    assert read_back(cpio.archive(listed)) == listed


def test_same_members_same_bytes() -> None:
    listed = [cpio.folder("dev"), cpio.character_device("dev/console", 5, 1), cpio.program("init", b"\x7fELF")]
    assert cpio.archive(listed) == cpio.archive(listed)

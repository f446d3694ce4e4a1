from __future__ import annotations

import pytest

from culvert.protocol import culvert, remote, remote_connect
from culvert.rpc.programs import KNOWN, Index
from tests.rpc import support


def test_rows_are_found_by_identity() -> None:
    index = Index(KNOWN)
    assert index.of(remote_connect.AUTH_LIST) is remote.PROGRAM
    assert index.of(culvert.HELLO) is culvert.PROGRAM
    assert index.get(0x20008086, 1) is remote.PROGRAM
    assert index.get(0x20008086, 2) is None


def test_a_row_of_no_program_in_use() -> None:
    with pytest.raises(LookupError, match="ECHO is not a row of REMOTE, QEMU, CULVERT"):
        Index(KNOWN).of(support.ECHO)
    assert Index([support.PROGRAM]).of(support.TICK) is support.PROGRAM

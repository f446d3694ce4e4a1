"""Which file system holds a path, by the text of /proc/self/mountinfo."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.drivers.qemu import shared

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:5 / /srv rw shared:2 - nfs4 host:/srv rw
24 23 8:2 / /srv/local rw - xfs /dev/sdb1 rw
25 22 0:9 / /with\040space rw - ceph mon:/ rw
26 22 0:9 / /twice rw - ext4 /dev/x rw
27 22 0:9 / /twice rw - fuse.glusterfs vol rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/etc/passwd", "ext4"),
        ("/srv/disk.raw", "nfs4"),
        ("/srv", "nfs4"),
        ("/srvother/x", "ext4"),
        ("/srv/local/disk", "xfs"),
        ("/with space/disk", "ceph"),
        ("/twice/disk", "fuse.glusterfs"),
    ],
)
def test_the_innermost_and_topmost_mount_counts(path: str, kind: str) -> None:
    assert shared.file_system(Path(path), MOUNTS) == kind


def test_a_local_file_is_not_shared(tmp_path: Path) -> None:
    assert not shared.is_shared(str(tmp_path / "disk"))

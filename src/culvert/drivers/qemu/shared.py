"""Whether a file lies on a file system that several hosts see."""

from __future__ import annotations

from pathlib import Path

# What libvirt counts as shared (util/virfile.c, virFileIsSharedFSType), by the names in /proc/self/mountinfo.
SHARED_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "gfs2", "ocfs2", "afs", "smb3", "cifs", "ceph", "gpfs", "fuse.glusterfs", "fuse.ceph", "beegfs"}
)


def file_system(path: Path, mountinfo: str) -> str:
    """The type of the file system that holds the absolute ``path``, by a text in the form of proc(5) mountinfo."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        words = fields.split()
        if len(words) < 5 or not rest:
            continue
        # proc(5): blanks and backslashes in a mount point are written as octal escapes.
        point = Path(words[4].encode().decode("unicode_escape"))
        # Of several mounts on one point the last one is on top.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), rest.split()[0]
    return kind


def is_shared(path: str) -> bool:
    """Whether ``path`` is on a shared file system; blocks on the disk."""
    return file_system(Path(path).resolve(), Path("/proc/self/mountinfo").read_text()) in SHARED_FILE_SYSTEMS

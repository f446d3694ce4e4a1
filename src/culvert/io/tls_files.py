"""Where the certificates are: libvirt's places, the user's, the configuration's, the URI's.

The names are libvirt's (docs/kbase/tlscerts, "Public Key Infrastructure"): one folder with everything for
``pkipath=`` and for ``~/.pki/libvirt``, two folders and ``private/`` below ``/etc/pki`` for the whole system.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from culvert.ground.uri import ConnectionURI

SYSTEM = Path("/etc/pki")


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one side: ``ca`` signs the other side's certificate; ``cert`` and ``key`` are this side's own.

    ``crl`` lists what the authority has revoked; None: nothing is. Nor when the file is not there, unless
    ``crl_wanted``: somebody has named it.
    """

    ca: Path
    cert: Path
    key: Path
    crl: Path | None = None
    crl_wanted: bool = False

    def over(self, *, ca: str = "", cert: str = "", key: str = "", crl: str = "") -> Files:
        """The same with the paths that are given here instead."""
        given = {"ca": ca, "cert": cert, "key": key, "crl": crl}
        paths = {name: Path(path) for name, path in given.items() if path}
        return replace(self, **paths, crl_wanted=bool(crl))

    @property
    def present(self) -> bool:
        """Whether any of them is there."""
        return any(map(os.path.exists, (self.ca, self.cert, self.key)))


Stamp = tuple[int, ...] | None
"""Of a file: what is another as soon as somebody has changed it. ``None``: it is not there."""

SETTLED = 2.0  # seconds after a change within which another one might not show: file systems' clocks are coarse


def stamps(files: Files) -> tuple[Stamp, ...]:
    """Of each of ``files``, in order."""
    return tuple(_stamp(path) for path in (files.ca, files.cert, files.key, files.crl))


def settled(found: tuple[Stamp, ...], now: float) -> bool:
    """Whether a change after ``found`` was taken would show in it; ``now`` in seconds since 1970."""
    return all(stamp is None or abs(now - stamp[-1] / 1e9) > SETTLED for stamp in found)


def _stamp(path: Path | None) -> Stamp:
    try:
        found = os.stat(path) if path is not None else None
    except OSError:
        return None
    return found and (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns, found.st_mtime_ns)


def in_folder(folder: Path, side: str) -> Files:
    """Everything in one folder; ``side`` is "server" or "client"."""
    return Files(folder / "cacert.pem", folder / f"{side}cert.pem", folder / f"{side}key.pem", folder / "cacrl.pem")


def of_system(side: str) -> Files:
    """Where libvirt has them for the whole system."""
    return Files(
        SYSTEM / "CA/cacert.pem",
        SYSTEM / f"libvirt/{side}cert.pem",
        SYSTEM / f"libvirt/private/{side}key.pem",
        SYSTEM / "CA/cacrl.pem",
    )


def default(side: str, *, uid: int | None = None, home: Path | None = None) -> Files:
    """The user's own files when the user has any and is not root, the system's otherwise."""
    if (os.geteuid() if uid is None else uid) != 0:
        own = in_folder((home or Path.home()) / ".pki/libvirt", side)
        if own.present:
            return own
    return of_system(side)


def for_uri(uri: ConnectionURI, configured: Files | None) -> Files:
    """A client's files for ``uri``: ``pkipath=`` first, then what is configured, then the usual places."""
    if folder := uri.parameters.get("pkipath"):
        return in_folder(Path(folder), "client")
    return configured or default("client")

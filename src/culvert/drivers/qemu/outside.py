"""What a guest's disks need of other drivers of the daemon: volumes of storage pools, and secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from culvert.ground import errors


@dataclass(frozen=True, slots=True)
class Located:
    """Where a volume is: a file or a block device, and the format of the image."""

    path: str
    format: str
    is_block: bool = False


class Volumes(Protocol):
    """Who knows the volumes of storage pools."""

    async def locate(self, pool: str, volume: str) -> Located:
        """Raises ``errors.NoStoragePool``, ``errors.NoStorageVol``, ``errors.OperationInvalid`` for an idle pool."""


class SecretValues(Protocol):
    """Who keeps secrets."""

    def value(self, uuid: UUID | None, usage: str | None, kind: str) -> bytes:
        """The value of the secret of that UUID, or of that usage and ``kind`` (volume, ceph, iscsi).

        Raises ``errors.NoSecret`` for one that is not there or has no value.
        """


class NoVolumes:
    """Of a driver without storage pools."""

    async def locate(self, pool: str, volume: str) -> Located:
        raise errors.NoStoragePool(f"no storage pool with matching name '{pool}'")


class NoSecrets:
    """Of a driver without secrets."""

    def value(self, uuid: UUID | None, usage: str | None, kind: str) -> bytes:
        raise errors.NoSecret(f"no secret with matching {f'uuid {uuid}' if uuid else f'usage {usage}'}")

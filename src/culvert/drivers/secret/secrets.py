"""Secrets: passwords that guests' disks need, by what they are for.

As libvirt keeps them: ``etc/secrets/UUID.xml`` says what for, ``etc/secrets/UUID.base64`` has the value, both for the
daemon's user alone; one that is ephemeral is kept in memory only. No value is ever in the log.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import os
import uuid as uuids
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from culvert.domain import secret as secret_xml
from culvert.domain.secret import SecretDef
from culvert.ground import errors
from culvert.io import apart, files

log = logging.getLogger(__name__)

FOLDER_MODE, FILE_MODE = 0o700, 0o600


@dataclass(slots=True, eq=False)
class KeptSecret:
    """One secret; ``value`` None: none was given yet."""

    uuid: UUID
    definition: SecretDef
    value: bytes | None = None

    def __repr__(self) -> str:
        return f"<KeptSecret {self.uuid}>"  # nothing of its value in any traceback


class Secrets:
    """All secrets of this host."""

    def __init__(self, folder: Path) -> None:
        """``folder`` keeps them; it is made with the first one."""
        self._folder = folder
        self._secrets: dict[UUID, KeptSecret] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read what is kept; a file that cannot be used is set aside."""
        for path, text, value in await asyncio.to_thread(_read, self._folder):
            try:
                definition = secret_xml.parse(text)
                uuid = UUID(definition.uuid or "")
                held = base64.b64decode(value, validate=True) if value is not None else None
            except (ValueError, binascii.Error, errors.RequestError) as err:
                await asyncio.to_thread(files.set_aside, path, err)
                continue
            self._secrets[uuid] = KeptSecret(uuid, definition, held)

    def all(self) -> list[KeptSecret]:
        """By UUID."""
        return sorted(self._secrets.values(), key=lambda secret: secret.uuid)

    def by_uuid(self, uuid: UUID) -> KeptSecret:
        """Raises ``errors.NoSecret``."""
        if uuid not in self._secrets:
            raise errors.NoSecret(f"no secret with matching uuid '{uuid}'")
        return self._secrets[uuid]

    def by_usage(self, kind: str, used_by: str) -> KeptSecret:
        """Raises ``errors.NoSecret``."""
        found = self._by_usage(kind, used_by)
        if found is None:
            raise errors.NoSecret(f"no secret with matching usage '{used_by}'")
        return found

    def _by_usage(self, kind: str, used_by: str) -> KeptSecret | None:
        for secret in self._secrets.values():
            if (secret.definition.kind, secret.definition.used_by) == (kind, used_by):
                return secret
        return None

    def value(self, uuid: UUID | None, usage: str | None, kind: str) -> bytes:
        """For a guest's disk. Raises ``errors.NoSecret``, and ``errors.InvalidSecret`` for one of another kind."""
        secret = self.by_uuid(uuid) if uuid is not None else self.by_usage(kind, usage or "")
        if secret.definition.kind != kind:
            raise errors.InvalidSecret(
                f"secret '{secret.uuid}' is of usage type '{secret.definition.kind}', and '{kind}' is wanted"
            )
        return _given(secret)

    async def define(self, text: str) -> KeptSecret:
        """Raises as ``secret.parse``, ``errors.InternalError`` for one that another is there for,
        ``errors.SystemCallError``."""
        wanted = await apart.run(secret_xml.parse, text)
        wanted = replace(wanted, uuid=wanted.uuid or str(uuids.uuid4()))
        uuid = UUID(wanted.uuid)
        async with self._changing:
            self._check(uuid, wanted)
            before = self._secrets.get(uuid)
            secret = KeptSecret(uuid, wanted, before.value if before else None)
            if wanted.ephemeral:
                await asyncio.to_thread(self._remove, uuid)
            else:
                await asyncio.to_thread(self._write, secret)
            self._secrets[uuid] = secret
        return secret

    def _check(self, uuid: UUID, wanted: SecretDef) -> None:
        before = self._secrets.get(uuid)
        if before is not None:
            if before.definition.used_by != wanted.used_by:
                raise errors.InternalError(
                    f"a secret with UUID {uuid} is already defined for use with {before.definition.used_by}"
                )
            if before.definition.private and not wanted.private:
                raise errors.InternalError("cannot change private flag on existing secret")
            return
        other = self._by_usage(wanted.kind, wanted.used_by) if wanted.used_by else None
        if other is not None:
            raise errors.InternalError(
                f"a secret with UUID {other.uuid} already defined for use with {wanted.used_by}"
            )

    async def set_value(self, secret: KeptSecret, value: bytes) -> None:
        """Raises ``errors.SystemCallError``, and the old one stays."""
        async with self._changing:
            self.by_uuid(secret.uuid)
            if not secret.definition.ephemeral:
                await asyncio.to_thread(self._write, KeptSecret(secret.uuid, secret.definition, value))
            self._secrets[secret.uuid] = KeptSecret(secret.uuid, secret.definition, value)

    def get_value(self, secret: KeptSecret) -> bytes:
        """For who asks for it. Raises ``errors.InvalidSecret`` for a private one, ``errors.NoSecret``."""
        if secret.definition.private:
            raise errors.InvalidSecret("secret is private")
        return _given(secret)

    async def undefine(self, secret: KeptSecret) -> None:
        """Raises ``errors.SystemCallError``."""
        async with self._changing:
            self.by_uuid(secret.uuid)
            await asyncio.to_thread(self._remove, secret.uuid)
            del self._secrets[secret.uuid]

    # on the disk

    def _paths(self, uuid: UUID) -> tuple[Path, Path]:
        return self._folder / f"{uuid}.xml", self._folder / f"{uuid}.base64"

    def _write(self, secret: KeptSecret) -> None:
        try:
            self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            os.chmod(self._folder, FOLDER_MODE)
        except OSError as err:
            raise errors.SystemCallError(
                f"cannot create config directory '{self._folder}': {err.strerror}", errno=err.errno
            ) from err
        definition, value = self._paths(secret.uuid)
        if secret.value is not None:
            files.write_atomically(value, base64.b64encode(secret.value).decode("ascii"))
            os.chmod(value, FILE_MODE)
        files.write_atomically(definition, secret_xml.format(secret.definition))
        os.chmod(definition, FILE_MODE)

    def _remove(self, uuid: UUID) -> None:
        for path in reversed(self._paths(uuid)):
            if path.exists():
                files.remove(path)


def _given(secret: KeptSecret) -> bytes:
    if secret.value is None:
        raise errors.NoSecret(f"secret '{secret.uuid}' does not have a value")
    return secret.value


def _read(folder: Path) -> list[tuple[Path, str, str | None]]:
    if not folder.is_dir():
        return []
    files.sweep(folder)
    found = []
    for path in sorted(folder.glob("*.xml")):
        value = path.with_suffix(".base64")
        try:
            text = path.read_text(encoding="utf-8")
            found.append((path, text, value.read_text(encoding="ascii") if value.exists() else None))
        except (OSError, ValueError) as err:
            files.set_aside(path, err)
    return found

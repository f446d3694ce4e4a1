"""``<secret>``: what a password is for, without it. Source: libvirt docs/formatsecret; conf/secret_conf.c."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain import binding, xml
from culvert.domain.binding import ANY, attribute, child, leaf
from culvert.domain.scalars import ANY_TEXT, UUID, YES_NO, WordScalar
from culvert.ground import errors

# VIR_SECRET_USAGE_TYPE_* in their order, and the element that names the thing.
USES = {"none": "", "volume": "volume", "ceph": "name", "iscsi": "target", "tls": "name", "vtpm": "name"}
KINDS = tuple(USES)
MISSING = {
    "volume": "volume usage specified, but volume path is missing",
    "ceph": "Ceph usage specified, but name is missing",
    "iscsi": "iSCSI usage specified, but target is missing",
    "tls": "TLS usage specified, but name is missing",
    "vtpm": "vTPM usage specified, but name is missing",
}


@dataclass(frozen=True, slots=True)
class KindScalar(WordScalar):
    """What a secret is for; a word that is none is refused as libvirt refuses it."""

    def read(self, text: str, where: str) -> str:
        if text not in self.words:
            raise errors.ConfigUnsupported(f"unsupported configuration: unknown secret usage type {text}")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a secret is for."""

    type: Annotated[str | None, attribute("type", KindScalar(KINDS))] = None
    volume: Annotated[str | None, leaf("volume", ANY_TEXT)] = None
    name: Annotated[str | None, leaf("name", ANY_TEXT)] = None
    target: Annotated[str | None, leaf("target", ANY_TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretDef:
    """The definition of a secret. ``ephemeral``: it is in memory only; ``private``: its value is told to nobody."""

    ephemeral: Annotated[bool, attribute("ephemeral", YES_NO)] = False
    private: Annotated[bool, attribute("private", YES_NO)] = False
    uuid: Annotated[str | None, leaf("uuid", UUID)] = None
    description: Annotated[str | None, leaf("description", ANY_TEXT)] = None
    usage: Annotated[Usage | None, child("usage", Usage, hollow=ANY)] = None

    @property
    def kind(self) -> str:
        return (self.usage.type if self.usage else None) or "none"

    @property
    def used_by(self) -> str:
        """The thing that it is for; empty where it is for none in particular."""
        name = USES[self.kind]
        return str(getattr(self.usage, name) or "") if name else ""


def parse(text: str) -> SecretDef:
    """Raises ``errors.XMLError``, ``errors.ConfigUnsupported``, ``errors.InternalError`` for what is missing."""
    root = xml.read(text)
    if root.tag != "secret":
        raise errors.XMLError(f"XML error: unexpected root element <{root.tag}>, expecting <secret>")
    found = binding.read(SecretDef, root, "/secret")
    if found.usage is not None and found.usage.type is None:
        raise errors.XMLError("XML error: unknown secret usage type")
    if found.kind in MISSING and not found.used_by:
        raise errors.InternalError(MISSING[found.kind])
    return found


def format(secret: SecretDef) -> str:
    """The XML of ``secret``."""
    node = binding.write(secret, "secret")
    node.children = [one for one in node.children if secret.kind != "none" or getattr(one, "tag", "") != "usage"]
    return xml.render(node)

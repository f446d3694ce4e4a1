"""What people and programs say of a domain: title, description, and elements of their own below ``<metadata>``.

Source: the documentation of virDomainSetMetadata (src/libvirt-domain.c).
"""

from __future__ import annotations

from dataclasses import replace

from lxml import etree

from culvert.domain import xml
from culvert.domain.definition import DomainDef

ROOT = "metadata"


def element(definition: DomainDef, uri: str) -> str | None:
    """The markup of the element whose namespace is ``uri``, without that namespace's prefix; ``None``: not there."""
    for one in _elements(definition):
        if etree.QName(one).namespace == uri:
            return _plain(one)
    return None


def with_element(definition: DomainDef, uri: str, key: str | None, markup: str | None) -> DomainDef:
    """``definition`` with ``markup`` in the place of the element whose namespace is ``uri``, prefixed ``key``.

    Without ``markup`` the element is taken away. Raises ``errors.XMLError`` for text that is no XML element.
    """
    kept = [one for one in _elements(definition) if etree.QName(one).namespace != uri]
    if markup is not None:
        kept.append(_named(markup, uri, key))
    holder = etree.Element(ROOT)
    holder.extend(kept)
    text = xml.verbatim(holder) if kept else None
    return replace(definition, metadata=text)


def _elements(definition: DomainDef) -> list[etree._Element]:
    if not definition.metadata:
        return []
    return list(xml.read(f"<{ROOT}>{definition.metadata}</{ROOT}>"))


def _named(markup: str, uri: str, key: str | None) -> etree._Element:
    """The root of ``markup`` and what below it has no namespace, put into ``uri`` under the prefix ``key``."""
    root = xml.read(markup)
    made = _moved(root, uri, {key: uri} if key else None) if etree.QName(root).namespace is None else root
    made.tail = None
    return made


def _moved(old: etree._Element, uri: str, names: dict[str, str] | None = None) -> etree._Element:
    name = etree.QName(old)
    new = etree.Element(f"{{{name.namespace or uri}}}{name.localname}", _attributes(old), nsmap=names)
    new.text, new.tail = old.text, old.tail
    new.extend([_moved(one, uri) for one in old])
    return new


def _plain(one: etree._Element) -> str:
    """The markup as it was given: elements of the entry's namespace without prefix and declaration."""
    uri = etree.QName(one).namespace

    def bare(old: etree._Element) -> etree._Element:
        name = etree.QName(old)
        new = etree.Element(name.localname if name.namespace == uri else str(old.tag), _attributes(old))
        new.text, new.tail = old.text, old.tail
        new.extend([bare(each) for each in old])
        return new

    shown = bare(one)
    shown.tail = None
    if not xml.is_mixed(shown):
        etree.indent(shown)
    return str(etree.tostring(shown, encoding="unicode"))


def _attributes(one: etree._Element) -> dict[str, str]:
    return {str(name): str(value) for name, value in one.attrib.items()}

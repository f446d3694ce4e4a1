"""XML text in and out: a hardened reader and a writer that lays text out as libvirt does.

The reader takes bytes of unknown origin: no entities, no DTD, no network, bounded in size and depth. The writer
renders a tree of ``Node``: two spaces a level, single quotes, an element without content closed in its own tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from culvert.ground import errors

# REMOTE_STRING_MAX (libvirt remote_protocol.x): nothing longer can arrive as a string argument.
MAX_BYTES = 4 * 1024 * 1024
# A domain description is 8 levels deep; metadata of other programs may go further, but not without end.
MAX_DEPTH = 64
MAX_ELEMENTS = 100_000
# libxml2 compares every attribute of an element with all before it: 200,000 of them in 2 MB take it minutes.
MAX_ATTRIBUTES = 256

_START_TAG = re.compile(r"""[^<>"'!?/](?:[^<>"']*(?:"[^"]*"|'[^']*'))*""")
_QUOTED = re.compile(r""""[^"]*"|'[^']*'""")


QEMU_SPACE_NAME = "http://libvirt.org/schemas/domain/qemu/1.0"
QEMU_SPACE = f"{{{QEMU_SPACE_NAME}}}"
"""Before the name of an element that is QEMU's alone, in lxml's spelling; ``qemu:`` in libvirt's."""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Markup that is kept as it came (the content of ``<metadata>``), laid out for its place below the root."""

    markup: str


@dataclass(slots=True)
class Node:
    """An element to be written: attributes in order, then either text or children.

    ``spread``: closed by a tag on a line of its own, also without children.
    """

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    children: list[Node | Verbatim] = field(default_factory=list)
    spread: bool = False


def read(text: str) -> etree._Element:
    """The root element of the document ``text``.

    Raises ``errors.XMLError`` for anything that is not plain well-formed XML within the bounds above.
    """
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as err:
        raise errors.XMLError(f"XML error: the document is not valid Unicode: {err.reason}") from err
    if len(data) > MAX_BYTES:
        raise errors.XMLError(f"XML error: the document has {len(data)} bytes; at most {MAX_BYTES} are read")
    _check_tags(text)
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as err:
        raise errors.XMLError(f"XML error: the document cannot be read: {err.msg}") from err
    docinfo: Any = root.getroottree().docinfo
    if docinfo.doctype:
        raise errors.XMLError("XML error: a document type declaration is not accepted")
    _check_bounds(root)
    return root


def _check_tags(text: str) -> None:
    """Refuse, before the parser sees it, what would keep the parser busy."""
    tags = text.split("<")
    if len(tags) > 3 * MAX_ELEMENTS:
        raise errors.XMLError(f"XML error: the document has more than {MAX_ELEMENTS} elements")
    for tag in tags:
        if tag.startswith("!DOCTYPE"):
            raise errors.XMLError("XML error: a document type declaration is not accepted")
        if tag.count("=") <= MAX_ATTRIBUTES or (found := _START_TAG.match(tag)) is None:
            continue
        if len(_QUOTED.findall(found[0])) > MAX_ATTRIBUTES:
            raise errors.XMLError(f"XML error: an element has more than {MAX_ATTRIBUTES} attributes")


def _check_bounds(root: etree._Element) -> None:
    depth = count = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        count += event == "start"
        if depth > MAX_DEPTH:
            raise errors.XMLError(f"XML error: elements are nested more than {MAX_DEPTH} deep")
        if count > MAX_ELEMENTS:
            raise errors.XMLError(f"XML error: the document has more than {MAX_ELEMENTS} elements")


def verbatim(element: etree._Element) -> str:
    """The children of ``element`` (a child of the root) as markup, laid out as they will be written again."""
    parts = []
    for child in element:
        copied = etree.fromstring(etree.tostring(child, with_tail=False))
        etree.cleanup_namespaces(copied)
        if not is_mixed(copied):
            etree.indent(copied, space="  ", level=2)
        parts.append("    " + etree.tostring(copied, encoding="unicode"))
    return "\n".join(parts)


def is_mixed(root: etree._Element) -> bool:
    """Somewhere text stands beside elements, which white space added for the eye would change."""
    return any(
        len(one) > 0 and any((text or "").strip() for text in (one.text, *(each.tail for each in one)))
        for one in root.iter()
    )


def render(node: Node) -> str:
    """The document whose root is ``node``, ended by a newline."""
    return "\n".join(_lines(node, "")) + "\n"


def _lines(node: Node, indent: str) -> Iterator[str]:
    tag = node.tag.replace(QEMU_SPACE, "qemu:")
    head = "".join(f" {name}='{_escape_attribute(value)}'" for name, value in node.attributes.items())
    if node.text is not None:
        # White space before a child would be part of the text.
        inner = "".join(line for one in node.children if isinstance(one, Node) for line in _lines(one, ""))
        yield f"{indent}<{tag}{head}>{_escape(node.text)}{inner}</{tag}>"
    elif not node.children and not node.spread:
        yield f"{indent}<{tag}{head}/>"
    else:
        yield f"{indent}<{tag}{head}>"
        for child in node.children:
            if isinstance(child, Verbatim):
                yield child.markup
            else:
                yield from _lines(child, indent + "  ")
        yield f"{indent}</{tag}>"


_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;", "\r": "&#13;", "\t": "&#9;"}
)


def _escape(text: str) -> str:
    return text.translate(_ESCAPES)


def _escape_attribute(text: str) -> str:
    return _escape(text).replace("\n", "&#10;")

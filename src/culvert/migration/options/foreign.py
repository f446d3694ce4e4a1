"""Domain XML that another host has written about a guest of its own: what in it concerns that host alone.

libvirt adds ``<seclabel type='dynamic' …/>`` once it has been restarted: the label that its own security driver makes
up for each run. There is no such driver here and a made-up label says nothing about the guest, so it is left out. One
that somebody has chosen (``static``) is a wish, and a wish that cannot be met is refused like any other element.

Source: conf/domain_conf.c, virSecurityLabelDefFormat; docs/formatdomain, "Security label".
"""

from __future__ import annotations

from lxml import etree

from culvert.domain import parse as xml_parse
from culvert.domain import xml
from culvert.domain.definition import DomainDef

_MADE_UP = frozenset({"dynamic", "none"})


def parse(text: str) -> DomainDef:
    """``culvert.domain.parse.parse`` of what is left of ``text``. Raises as that does."""
    if "<seclabel" not in text:
        return xml_parse.parse(text)
    root = xml.read(text)
    for label in root.findall("seclabel"):
        if label.get("type") in _MADE_UP and label.find("baselabel") is None:
            root.remove(label)
    return xml_parse.parse(etree.tostring(root, encoding="unicode"))

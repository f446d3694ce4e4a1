"""One table for reading and writing: dataclass fields that say where in the XML they live.

::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Rng:
        model: Annotated[str, attribute("model", one_of("virtio"))]
        rate: Annotated[Rate | None, child("rate", Rate)] = None

The order of the fields is the order of libvirt's output. ``read`` refuses every element and attribute that no
field names, by its path, so that nothing a user wrote is dropped silently; ``write`` leaves out fields that are
``None``, ``False`` flags and empty tuples. A field without a default must be there.

What libvirt reads as "not given" is a spelling, and is read so here: ``silent`` texts of an attribute, a ``lone``
without its attribute (unless it is ``needed``), a ``hollow`` child; and an element that says again what was said.

Bindings: ``attribute``, ``content`` (the element's own text), ``leaf`` (child with text only), ``lone`` (child
with one attribute only), ``flag`` (empty child), ``child``, ``again`` (a child that is there twice), ``children``,
``variant`` (child whose class is told by an attribute), ``amount`` (memory with a unit), ``sized`` (the same as an
attribute, or as the element's own text), ``beside`` (an attribute of a child that is an ``amount``), ``verbatim``
(markup that is kept without a look inside).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from lxml import etree

from culvert.domain import scalars, xml
from culvert.ground import errors, units

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Binding:
    """Where one field lives: ``kind`` and the names and types that kind needs.

    ``silent``: texts that say nothing. ``needed``: the attribute of a ``lone`` must be there. ``hollow``: of a child,
    the field without which it says nothing; ``ANY``: it says nothing where all its fields are at their defaults.
    """

    kind: str
    name: str = ""
    scalar: scalars.Scalar = scalars.TEXT
    inner: str = ""
    classes: Callable[[], Mapping[str, type[Any]]] = dict
    silent: tuple[str, ...] = ()
    needed: bool = False
    hollow: str = ""


BLANK = ("",)
"""``silent``: nothing between the quotes is nothing said."""

DEFAULT = ("default",)
"""``silent``: the word for what libvirt does where nothing is said."""

ANY = "*"


def attribute(name: str, scalar: scalars.Scalar = scalars.TEXT, *, silent: tuple[str, ...] = ()) -> Binding:
    """The element's attribute ``name``."""
    return Binding("attribute", name, scalar, silent=silent)


def content(scalar: scalars.Scalar = scalars.TEXT) -> Binding:
    """The element's own text."""
    return Binding("content", "", scalar)


def leaf(tag: str, scalar: scalars.Scalar = scalars.TEXT, *, silent: tuple[str, ...] = ()) -> Binding:
    """The text of the child ``tag``."""
    return Binding("leaf", tag, scalar, silent=silent)


def lone(
    tag: str,
    inner: str,
    scalar: scalars.Scalar = scalars.TEXT,
    *,
    silent: tuple[str, ...] = (),
    needed: bool = False,
) -> Binding:
    """The attribute ``inner`` of the child ``tag``, which has nothing else."""
    return Binding("lone", tag, scalar, inner, silent=silent, needed=needed)


def flag(tag: str) -> Binding:
    """True when the (empty) child ``tag`` is there."""
    return Binding("flag", tag)


def child(tag: str, cls: type[Any], *, hollow: str = "") -> Binding:
    """The child ``tag``, read as ``cls``."""
    return Binding("child", tag, classes=lambda: {"": cls}, hollow=hollow)


def again(tag: str, cls: type[Any]) -> Binding:
    """The child ``tag`` when it is there for the second time; the first time is another field's."""
    return Binding("again", tag, classes=lambda: {"": cls})


def nested(tag: str, cls: Callable[[], type[Any]]) -> Binding:
    """The child ``tag``, read as what ``cls`` gives: the class itself that has it."""
    return Binding("child", tag, classes=lambda: {"": cls()})


def children(tag: str, cls: type[Any]) -> Binding:
    """A tuple of all children ``tag``, each read as ``cls``."""
    return Binding("children", tag, classes=lambda: {"": cls})


def variant(tag: str, by: str, classes: Mapping[str, type[Any]]) -> Binding:
    """The child ``tag``, whose attribute ``by`` chooses its class."""
    return Binding("variant", tag, inner=by, classes=lambda: classes)


def amount(tag: str) -> Binding:
    """Memory in KiB: the child ``tag`` with a number and a ``unit`` (docs/formatdomain "Memory Allocation")."""
    return Binding("amount", tag, scalars.ULONG, silent=BLANK)


def sized(name: str, *, unit: str = "KiB", silent: tuple[str, ...] = ()) -> Binding:
    """The attribute ``name``, an amount of memory in KiB, or in bytes where ``unit`` is "B"; the attribute ``unit``
    beside it says of what it is so many. With no name it is the element's own text."""
    return Binding("sized", name, scalars.ULONG, unit, silent=silent)


def beside(tag: str, inner: str, scalar: scalars.Scalar = scalars.TEXT) -> Binding:
    """The attribute ``inner`` of the child ``tag``, whose content is another field: an ``amount`` before it."""
    return Binding("beside", tag, scalar, inner)


def verbatim(tag: str) -> Binding:
    """The content of the child ``tag`` as markup that is not looked into."""
    return Binding("verbatim", tag)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a field of a class and its binding. ``required``: it has no default; ``optional``: its
    default is None.
    """

    field: str
    binding: Binding
    required: bool
    optional: bool


_tables: dict[type[Any], tuple[Row, ...]] = {}


def table(cls: type[Any]) -> tuple[Row, ...]:
    """The rows of a bound class, in the order in which they are written."""
    if cls not in _tables:
        _tables[cls] = _compile(cls)
    return _tables[cls]


def _compile(cls: type[Any]) -> tuple[Row, ...]:
    rows = []
    hints = get_type_hints(cls, include_extras=True)
    for entry in dataclasses.fields(cls):
        hint = hints[entry.name]
        found = [a for a in get_args(hint)[1:] if isinstance(a, Binding)] if get_origin(hint) else []
        if not found:
            raise TypeError(f"{cls.__name__}.{entry.name} has no binding")
        required = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        rows.append(Row(entry.name, found[0], required, entry.default is None))
    return tuple(rows)


def supported(cls: type[Any], path: str, above: tuple[type[Any], ...] = ()) -> Iterator[tuple[str, str]]:
    """Every path below ``cls`` that is understood, with the values it takes: what the manual prints.

    What may stand in itself is told once; ``above``: the classes that ``path`` has gone through.
    """
    if cls in above:
        return
    above = (*above, cls)
    for bound in (row.binding for row in table(cls) if row.binding.kind != "again"):
        match bound.kind:
            case "attribute":
                yield f"{path}/@{bound.name}", bound.scalar.describe()
            case "content":
                yield path, bound.scalar.describe()
            case "lone":
                yield f"{path}/{bound.name}/@{bound.inner}", bound.scalar.describe()
            case "child" | "children":
                yield f"{path}/{_shown(bound.name)}", ""
                yield from supported(bound.classes()[""], f"{path}/{_shown(bound.name)}", above)
            case "variant":
                for value, variant_class in bound.classes().items():
                    tag = f"{path}/{bound.name}[@{bound.inner}='{value}']"
                    yield tag, ""
                    yield from supported(variant_class, tag, above)
            case "sized":
                yield f"{path}/@{bound.name}" if bound.name else path, bound.scalar.describe()
            case "beside":
                yield f"{path}/{bound.name}/@{bound.inner}", bound.scalar.describe()
            case "leaf" | "amount":
                yield f"{path}/{bound.name}", bound.scalar.describe()
            case _:
                yield f"{path}/{bound.name}", ""


# --- reading ---


def _line(element: etree._Element) -> str:
    line: Any = element.sourceline
    return f" (line {line})" if line else ""


def _tag(element: etree._Element) -> str:
    tag: Any = element.tag
    return str(tag)


def _shown(tag: str) -> str:
    """A tag in a path."""
    return tag.replace(xml.QEMU_SPACE, "qemu:")


def _unsupported(what: str, element: etree._Element) -> errors.ConfigUnsupported:
    return errors.ConfigUnsupported(f"unsupported configuration: {what} is not supported by culvert{_line(element)}")


def _text(element: etree._Element) -> str:
    return element.text or ""


def _bare(element: etree._Element, path: str, *, attributes: tuple[str, ...] = (), text: bool = False) -> None:
    """Refuse whatever ``element`` has besides the named attributes and, where allowed, text."""
    for name in map(str, element.attrib):
        if name not in attributes:
            raise _unsupported(f"attribute {path}/@{name}", element)
    for sub in element:
        raise _unsupported(f"element {path}/{_tag(sub)}", sub)
    if not text and _text(element).strip():
        raise errors.XMLError(f"XML error: {path} does not take text")


def read(cls: type[T], element: etree._Element, path: str, *, but: tuple[str, ...] = ()) -> T:
    """``element`` as an instance of ``cls``; ``path`` is where it is, for errors; ``but`` are read already.

    Raises ``errors.ConfigUnsupported`` for what the table does not have, ``errors.XMLError`` for what is malformed
    or missing.
    """
    values = {
        **_read_attributes(cls, element, path, but),
        **_read_children(cls, element, path),
        **_read_content(cls, element, path),
    }
    for row in table(cls):
        if row.required and row.field not in values:
            at = "@" if row.binding.kind == "attribute" else ""
            name = f"/{at}{row.binding.name}" if row.binding.name else ""
            raise errors.XMLError(f"XML error: {path}{name} is missing{_line(element)}")
    return cls(**values)


def _read_attributes(cls: type[Any], element: etree._Element, path: str, but: tuple[str, ...]) -> dict[str, Any]:
    rows = {row.binding.name: row for row in table(cls) if row.binding.kind in ("attribute", "sized")}
    sizes = any(row.binding.kind == "sized" for row in table(cls))
    values = {}
    for name, text in ((str(key), str(value)) for key, value in element.attrib.items()):
        if name in but or (sizes and name == "unit"):
            continue
        if name not in rows:
            raise _unsupported(f"attribute {path}/@{name}", element)
        value = _read_scalar(rows[name].binding, text, f"{path}/@{name}")
        if value is not None and rows[name].binding.kind == "sized":
            value = _of_unit(rows[name].binding, value, element)
        if value is not None:
            values[rows[name].field] = value
    return values


def _of_unit(bound: Binding, value: int, element: etree._Element) -> int:
    unit = str(element.get("unit", ""))
    return units.to_kib(value, unit) if bound.inner == "KiB" else units.to_bytes(value, unit)


def _read_scalar(bound: Binding, text: str, where: str) -> Any:
    """``None`` where nothing is said."""
    return None if text in bound.silent else bound.scalar.read(text, where)


def _read_children(cls: type[Any], element: etree._Element, path: str) -> dict[str, Any]:
    rows = {
        row.binding.name: row
        for row in table(cls)
        if row.binding.kind not in ("attribute", "content", "sized", "beside", "again")
    }
    seconds = {row.binding.name: row for row in table(cls) if row.binding.kind == "again"}
    besides = [row for row in table(cls) if row.binding.kind == "beside"]
    values: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}
    for sub in element:
        tag = _tag(sub)
        where = f"{path}/{_shown(tag)}"
        row = rows.get(tag)
        if row is None:
            raise _unsupported(f"element {where}", sub)
        if (sub.tail or "").strip():
            raise errors.XMLError(f"XML error: {path} does not take text{_line(sub)}")
        for aside in [aside for aside in besides if aside.binding.name == tag]:
            if (text := sub.get(aside.binding.inner)) is not None:
                values[aside.field] = aside.binding.scalar.read(str(text), f"{where}/@{aside.binding.inner}")
                del sub.attrib[aside.binding.inner]
        value = _read_child(row.binding, sub, where)
        if row.binding.kind == "children":
            lists.setdefault(row.field, []).append(value)
        elif row.field in values and tag in seconds and seconds[tag].field not in values:
            values[seconds[tag].field] = value
        elif row.field in values:
            if values[row.field] != value or _holds_lists(value):
                raise errors.XMLError(f"XML error: {where} is there more than once{_line(sub)}")
        elif value is not None:
            values[row.field] = value
    return values | {field: tuple(held) for field, held in lists.items()}


def _holds_lists(value: Any) -> bool:
    """Twice the same element would be twice of what is in it."""
    if not dataclasses.is_dataclass(value):
        return False
    return any(row.binding.kind == "children" and getattr(value, row.field) for row in table(type(value)))


def _read_content(cls: type[Any], element: etree._Element, path: str) -> dict[str, Any]:
    row = next((row for row in table(cls) if row.binding.kind in ("content", "sized") and not row.binding.name), None)
    if row is None:
        if _text(element).strip():
            raise errors.XMLError(f"XML error: {path} does not take text{_line(element)}")
        return {}
    # Between elements, white space is for the eye.
    text = _text(element) if _text(element).strip() or not len(element) else ""
    if not text:
        return {}
    value = row.binding.scalar.read(text, path)
    return {row.field: _of_unit(row.binding, value, element) if row.binding.kind == "sized" else value}


def _read_child(bound: Binding, element: etree._Element, path: str) -> Any:
    return _READERS[bound.kind](bound, element, path)


def _read_class(bound: Binding, element: etree._Element, path: str) -> Any:
    cls = bound.classes()[""]
    value = read(cls, element, path)
    if bound.hollow == ANY:
        return None if value == cls() else value
    return None if bound.hollow and getattr(value, bound.hollow) is None else value


def _needed(element: etree._Element, name: str, path: str) -> str:
    text = element.get(name)
    if text is None:
        raise errors.XMLError(f"XML error: {path}/@{name} is missing{_line(element)}")
    return str(text)


def _read_variant(bound: Binding, element: etree._Element, path: str) -> Any:
    value = _needed(element, bound.inner, path)
    cls = bound.classes().get(value)
    if cls is None:
        raise _unsupported(f"{path}/@{bound.inner} '{value}'", element)
    return read(cls, element, path, but=(bound.inner,))


def _read_leaf(bound: Binding, element: etree._Element, path: str) -> Any:
    _bare(element, path, text=True)
    return _read_scalar(bound, _text(element), path)


def _read_lone(bound: Binding, element: etree._Element, path: str) -> Any:
    _bare(element, path, attributes=(bound.inner,))
    if element.get(bound.inner) is None and not bound.needed:
        return None
    return _read_scalar(bound, _needed(element, bound.inner, path), f"{path}/@{bound.inner}")


def _read_amount(bound: Binding, element: etree._Element, path: str) -> Any:
    _bare(element, path, attributes=("unit",), text=True)
    value = _read_scalar(bound, _text(element), path)
    return None if value is None else units.to_kib(value, str(element.get("unit", "")))


def _read_verbatim(bound: Binding, element: etree._Element, path: str) -> Any:
    return xml.verbatim(element)


def _read_flag(bound: Binding, element: etree._Element, path: str) -> Any:
    _bare(element, path)
    return True


_READERS: dict[str, Callable[[Binding, etree._Element, str], Any]] = {
    "child": _read_class,
    "children": _read_class,
    "variant": _read_variant,
    "leaf": _read_leaf,
    "lone": _read_lone,
    "amount": _read_amount,
    "verbatim": _read_verbatim,
    "flag": _read_flag,
}


# --- writing ---


def write(value: Any, tag: str) -> xml.Node:
    """``value``, an instance of a bound class, as the element ``tag``."""
    node = xml.Node(tag)
    for row in table(type(value)):
        held = getattr(value, row.field)
        if held is None or (held is False and row.binding.kind == "flag"):
            continue
        _write_field(node, row.binding, held)
    return node


def _write_sized(node: xml.Node, bound: Binding, held: Any) -> None:
    if bound.name:
        node.attributes[bound.name] = bound.scalar.write(held)
    else:
        node.text = bound.scalar.write(held)
    node.attributes["unit"] = bound.inner


def _write_beside(node: xml.Node, bound: Binding, held: Any) -> None:
    for one in node.children:
        if isinstance(one, xml.Node) and one.tag == bound.name:
            # Before the unit, which is written last.
            unit = one.attributes.pop("unit", None)
            one.attributes |= {bound.inner: bound.scalar.write(held)} | ({"unit": unit} if unit else {})


_WRITERS: dict[str, Callable[[xml.Node, Binding, Any], None]] = {"sized": _write_sized, "beside": _write_beside}


def _write_field(node: xml.Node, bound: Binding, held: Any) -> None:
    if (own := _WRITERS.get(bound.kind)) is not None:
        own(node, bound, held)
        return
    match bound.kind:
        case "attribute":
            node.attributes[bound.name] = bound.scalar.write(held)
        case "content":
            node.text = bound.scalar.write(held)
        case "child" | "again":
            node.children.append(write(held, bound.name))
        case "children":
            node.children.extend(write(item, bound.name) for item in held)
        case "variant":
            names = {cls: name for name, cls in bound.classes().items()}
            made = write(held, bound.name)
            made.attributes = {bound.inner: names[type(held)], **made.attributes}
            node.children.append(made)
        case "leaf":
            node.children.append(xml.Node(bound.name, text=bound.scalar.write(held)))
        case "lone":
            node.children.append(xml.Node(bound.name, {bound.inner: bound.scalar.write(held)}))
        case "amount":
            node.children.append(xml.Node(bound.name, {"unit": "KiB"}, text=bound.scalar.write(held)))
        case "verbatim":
            node.children.append(xml.Node(bound.name, children=[xml.Verbatim(held)] if held else []))
        case _:
            node.children.append(xml.Node(bound.name))

"""What is known of one flag, and how a section of the configuration declares it.

A flag is declared once, as a field of a section class: its annotation, default,
help text and standing there drive the command line, the ``ETCD_*`` variables,
the YAML file and ``--help``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import attrs

from rusd.config.kinds import Kind

T = TypeVar("T")

_KEY = "rusd.flag"


class Standing(Enum):
    """What rusd makes of a flag."""

    SUPPORTED = "supported"
    NOT_YET = "refused when set to anything but the default"
    NO_MEANING = "accepted with a warning"


@attrs.frozen
class Flag:
    """One flag.  ``why`` explains a standing other than SUPPORTED, as the end of a sentence."""

    name: str
    kind: Kind[Any]
    default: Any
    about: str
    section: str
    standing: Standing
    why: str
    deprecated: bool
    zero_is_default: bool
    has_experimental_twin: bool

    @property
    def attribute(self) -> str:
        """The name of the field that holds its value."""
        return self.name.replace("-", "_")


def flag(
    kind: Kind[T],
    default: T,
    about: str,
    *,
    not_yet: str = "",
    no_meaning: str = "",
    deprecated: bool = False,
    zero_is_default: bool = False,
    twin: bool = False,
) -> T:
    """Declare a flag; its name is that of the field with dashes.

    ``not_yet`` and ``no_meaning`` give the flag that :class:`Standing`, and say why.  ``deprecated``
    is etcd's notion.  ``zero_is_default`` replaces 0 by the default.  ``twin``: the flag is also known
    by its former name, with ``experimental-`` before it.
    """
    known = {
        "kind": kind,
        "about": about,
        "standing": _standing(not_yet, no_meaning),
        "why": not_yet or no_meaning,
        "deprecated": deprecated,
        "zero_is_default": zero_is_default,
        "has_experimental_twin": twin,
    }
    # attrs sees a field; to a type checker the declaration is the default value.
    return attrs.field(default=default, metadata={_KEY: known})


def _standing(not_yet: str, no_meaning: str) -> Standing:
    if not_yet:
        return Standing.NOT_YET
    return Standing.NO_MEANING if no_meaning else Standing.SUPPORTED


def flags_of(section: type[attrs.AttrsInstance]) -> Mapping[str, Flag]:
    """The flags that a section class declares itself, by name, in order.  Its docstring is its title."""
    title = (section.__doc__ or "").partition("\n")[0].rstrip(".")
    declared: dict[str, Flag] = {}
    for field in attrs.fields(section):
        if _KEY in field.metadata and not field.inherited:
            name = field.name.replace("_", "-")
            declared[name] = Flag(name=name, default=field.default, section=title, **field.metadata[_KEY])
    return declared

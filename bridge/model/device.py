"""What a device is made of, in the words of the UPnP Device Architecture (UDA), section 2.

Values here are as the description wrote them; reading them by data type is `values`' work.
Nothing here knows where a description came from or how it was read.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

_Args = ParamSpec("_Args")
_Made = TypeVar("_Made")


class Direction(StrEnum):
    """Which way an argument travels (UDA 2.0, section 2.5)."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class StateVariable:
    """A state variable of a service (UDA 2.0, section 2.5), texts as the SCPD has them.

    `evented` is true unless `sendEvents="no"`; `multicast` where `multicast="yes"`.
    """

    name: str
    data_type: str
    evented: bool = True
    multicast: bool = False
    default: str | None = None
    allowed_values: tuple[str, ...] = ()
    minimum: str | None = None
    maximum: str | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of an action; `variable` is the name of its related state variable."""

    name: str
    direction: Direction
    variable: str
    retval: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """An action of a service, its arguments in the order of the SCPD."""

    name: str
    arguments: tuple[Argument, ...] = ()

    @property
    def inputs(self) -> tuple[Argument, ...]:
        """The in-arguments, in order."""
        return tuple(a for a in self.arguments if a.direction is Direction.IN)

    @property
    def outputs(self) -> tuple[Argument, ...]:
        """The out-arguments, in order."""
        return tuple(a for a in self.arguments if a.direction is Direction.OUT)


@dataclass(frozen=True, slots=True)
class Scpd:
    """A service control protocol description; one object for all services with the same text.

    `members` has actions and state variables in document order, `problems` what was wrong in it.
    `made` is what functions that are `once_for_each` SCPD have made of it.
    """

    members: tuple[Action | StateVariable, ...]
    actions: Mapping[str, Action]
    variables: Mapping[str, StateVariable]
    problems: tuple[str, ...] = ()
    made: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(
        cls, members: tuple[Action | StateVariable, ...], problems: tuple[str, ...] = ()
    ) -> "Scpd":
        """Return the SCPD with these members, indexed by name."""
        return cls(
            members,
            {m.name: m for m in members if isinstance(m, Action)},
            {m.name: m for m in members if isinstance(m, StateVariable)},
            problems,
        )

    @property
    def size(self) -> int:
        """How many components it describes: state variables, actions and their arguments."""
        return len(self.members) + sum(len(one.arguments) for one in self.actions.values())


def once_for_each(
    function: Callable[Concatenate[Scpd, _Args], _Made],
) -> Callable[Concatenate[Scpd, _Args], _Made]:
    """Have a function work once for each SCPD, and its further arguments; what it makes is shared.

    A house may have hundreds of services with one SCPD.
    """

    @wraps(function)
    def once(scpd: Scpd, /, *args: _Args.args, **kwargs: _Args.kwargs) -> _Made:
        key = (function, *args, *kwargs.items())
        if key not in scpd.made:
            scpd.made[key] = function(scpd, *args, **kwargs)
        made: _Made = scpd.made[key]
        return made

    return once


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a device. URLs are absolute; `event_url` is None where nothing is evented.

    `level` is the service's topic level, unique within its device (see `topics`).
    """

    service_id: str
    service_type: str
    level: str
    scpd_url: str
    control_url: str
    event_url: str | None
    scpd: Scpd


@dataclass(frozen=True, slots=True)
class Icon:
    """An icon; `url` is absolute, the numbers are None where the description has none."""

    url: str
    mimetype: str | None = None
    width: int | None = None
    height: int | None = None
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device, root or embedded. `udn` is written as the description has it, without `uuid:`.

    `children` has services and embedded devices in document order. URLs are absolute, and
    `problems` says what was wrong in the description and how it was read, a line each.
    """

    udn: str
    device_type: str
    friendly_name: str
    manufacturer: str | None = None
    manufacturer_url: str | None = None
    model_name: str | None = None
    model_number: str | None = None
    model_description: str | None = None
    model_url: str | None = None
    serial_number: str | None = None
    upc: str | None = None
    presentation_url: str | None = None
    icons: tuple[Icon, ...] = ()
    children: tuple["Service | Device", ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def services(self) -> tuple[Service, ...]:
        """The services of this device alone."""
        return tuple(c for c in self.children if isinstance(c, Service))

    @property
    def devices(self) -> tuple["Device", ...]:
        """The devices embedded in this one, one level down."""
        return tuple(c for c in self.children if isinstance(c, Device))

    def walk(self) -> Iterator["Device"]:
        """Yield this device and all below it, each before its children."""
        yield self
        for device in self.devices:
            yield from device.walk()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Description:
    """A root device with what its description and announcements say of the whole.

    `server` is the SERVER header of its announcements, `upnp_version` for instance "1.1".
    `url_base` is its URLBase, None where that is the location.
    """

    device: Device
    location: str
    upnp_version: str
    server: str | None = None
    url_base: str | None = None

    @property
    def base_url(self) -> str:
        """What relative URLs are relative to that the device writes."""
        return self.url_base or self.location

    @property
    def udn(self) -> str:
        """The UDN of the root device, without `uuid:`."""
        return self.device.udn


class Key(NamedTuple):
    """Which value: a state variable, with InstanceID and channel where `LastChange` named them."""

    name: str
    instance: str | None = None
    channel: str | None = None

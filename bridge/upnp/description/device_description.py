"""Device descriptions as devices write them, read into `model.device` (UDA 2.0, section 2.3).

Whatever is wrong costs only itself and leaves a line among the problems of its device. Nothing
here fetches: SCPDs are named by their URLs, and put in by `scpd.with_scpds` once somebody has them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from string import punctuation
from sys import intern
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from bridge.errors import DescriptionError
from bridge.formats.url import bracketed, host_key, host_of
from bridge.formats.xml import Element, child_text, children, descendant, local, parse, text
from bridge.model.device import Description, Device, Icon, Service
from bridge.model.topics import MAX_LEVEL, bare_udn, encode_level, service_levels, udn_key
from bridge.upnp.description.scpd import NO_SCPD, Problems, one_line

MAX_DEPTH = 16
MAX_DEVICES = 256
MAX_SERVICES = 1024
MAX_ICONS = 64
MAX_TEXT = 1024
MAX_URL = 4096

_VERSION = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")
_NUMBER = re.compile(r"[0-9]{1,9}")


def read_description(
    data: bytes, location: str, *, foreign: Callable[[str], bool], server: str | None = None
) -> Description:
    """Read a description in any namespace; its services have empty SCPDs.

    `foreign` says of a host other than the location's that nothing may be asked of it: a URL for
    control, events or an SCPD there counts as absent. At most 256 devices, 16 deep, with 1024
    services are read. Raises DescriptionError where there is no root device with a UDN.
    """
    try:
        host = host_of(location)
        root, mended = parse(data)
    except ValueError as error:
        raise DescriptionError(str(error)) from error
    element = descendant(root, "device")
    if element is None:
        raise DescriptionError("no device element")
    problems = Problems()
    if mended:
        problems.add("the description was not well-formed XML")
    urls = _Urls(location, host, foreign)
    try:
        if url_base := text(descendant(root, "URLBase")).strip():
            urls = replace(urls, base=urls.to_ask(url_base))
    except ValueError as error:
        problems.add(f"URLBase: {error}, ignored")
    spec = descendant(root, "specVersion")
    version = "" if spec is None else f"{child_text(spec, 'major')}.{child_text(spec, 'minor')}"
    return Description(
        device=_Reader(urls).root(element, problems),
        location=location,
        upnp_version=version if _VERSION.fullmatch(version) else "1.0",
        server=server,
        url_base=urls.base if urls.base != location else None,
    )


def _number(icon: Element, name: str, problems: Problems) -> int | None:
    written = child_text(icon, name)
    if _NUMBER.fullmatch(written):
        return int(written)
    if written:
        problems.add(f"icon: {name} {written} is not a number")
    return None


@dataclass(frozen=True, slots=True)
class _Urls:
    """How the URLs of one description are made absolute; ValueError says what is wrong with one.

    What is written as `%XX`, and what is not, stays so: some servers compare octets.
    """

    base: str
    host: str
    foreign: Callable[[str], bool]

    def to_ask(self, written: str) -> str:
        """Return a URL that the bridge may ask itself."""
        url = urlunsplit(self._absolute(written)._replace(fragment=""))
        host = host_of(url)  # ValueError where the HTTP client would refuse the URL
        if host_key(host) != host_key(self.host) and self.foreign(host):
            raise ValueError("a foreign host")
        return url

    def to_publish(self, written: str) -> str:
        """Return a URL that is only told to others, on whatever host."""
        parts = self._absolute(written)
        if parts.scheme not in ("http", "https"):
            raise ValueError("neither an http nor an https URL")
        return urlunsplit(parts)

    def _absolute(self, written: str) -> SplitResult:
        if one_line(written) != written or len(written) > MAX_URL:
            raise ValueError("control characters in the URL, or too long")
        parts = urlsplit(urljoin(self.base, quote(written, safe=punctuation)))
        if parts.scheme in ("http", "https") and (not parts.hostname or "@" in parts.netloc):
            raise ValueError("no host, or a user, in the URL")
        port = parts.port  # ValueError where it is none
        if parts.hostname and host_key(parts.hostname) == host_key(self.host):
            # Written as in the location: a link-local IPv6 address needs its scope.
            host = bracketed(self.host)
            parts = parts._replace(netloc=host if port is None else f"{host}:{port}")
        return parts


class _Reader:
    """One reading of one description: what has been counted and taken on the way."""

    def __init__(self, urls: _Urls) -> None:
        self._urls = urls
        self._root_udn = ""
        self._taken: set[str] = set()
        self._devices = 1
        self._services = 0

    def root(self, element: Element, problems: Problems) -> Device:
        """Read the root device."""
        udn = self._root_udn = bare_udn(child_text(element, "UDN"))
        if not self._take(udn):
            raise DescriptionError("the UDN is too long" if udn else "no UDN")
        return self._device(element, udn, problems, 1)

    def _take(self, udn: str) -> bool:
        if not udn or udn_key(udn) in self._taken or len(encode_level(udn)) > MAX_LEVEL:
            return False
        self._taken.add(udn_key(udn))
        return True

    def _embedded(self, element: Element, around: Problems, depth: int) -> Device | None:
        if depth > MAX_DEPTH or self._devices == MAX_DEVICES:
            around.add(f"more than {MAX_DEVICES} devices, or {MAX_DEPTH} deep: the rest left out")
            return None
        self._devices += 1
        problems = Problems()
        udn = bare_udn(child_text(element, "UDN"))
        if not self._take(udn):
            problems.add(f"no UDN of its own ('{udn}'): one was made from the root's")
            udn = f"{self._root_udn}~{self._devices}"
            if not self._take(udn):
                around.add(f"device {self._devices} has no UDN of its own: left out")
                return None
        return self._device(element, udn, problems, depth)

    def _device(self, element: Element, udn: str, problems: Problems, depth: int) -> Device:
        def line(name: str) -> str | None:
            written = child_text(element, name)
            if len(written) > MAX_TEXT:
                problems.add(f"{name}: cut at {MAX_TEXT} characters")
            return one_line(written[:MAX_TEXT]) or None

        def url(name: str) -> str | None:
            return self._published(name, child_text(element, name), problems)

        device_type, name, model_name = line("deviceType"), line("friendlyName"), line("modelName")
        if device_type is None:
            problems.add("no deviceType")
        if name is None:
            problems.add("no friendlyName")
        icons = self._icons(element, problems)
        return Device(
            udn=udn,
            device_type=device_type or "",
            friendly_name=name or model_name or device_type or "",
            manufacturer=line("manufacturer"),
            manufacturer_url=url("manufacturerURL"),
            model_name=model_name,
            model_number=line("modelNumber"),
            model_description=line("modelDescription"),
            model_url=url("modelURL"),
            serial_number=line("serialNumber"),
            upc=line("UPC"),
            presentation_url=url("presentationURL"),
            icons=icons,
            children=self._children(element, problems, depth),
            problems=problems.lines(),
        )

    def _published(self, name: str, written: str, problems: Problems) -> str | None:
        try:
            return self._urls.to_publish(written) if written else None
        except ValueError as error:
            problems.add(f"{name}: {error}, left out")
            return None

    def _icons(self, element: Element, problems: Problems) -> tuple[Icon, ...]:
        icons: list[Icon] = []
        for icon in (i for part in children(element, "iconList") for i in children(part, "icon")):
            if len(icons) == MAX_ICONS:
                problems.add(f"more than {MAX_ICONS} icons: the rest left out")
                break
            written = child_text(icon, "url")
            if not written:
                problems.add("icon without a url: left out")
            if url := self._published("icon", written, problems):
                width, height, depth = (
                    _number(icon, name, problems) for name in ("width", "height", "depth")
                )
                mimetype = one_line(child_text(icon, "mimetype")[:MAX_TEXT]) or None
                icons.append(Icon(url, mimetype, width, height, depth))
        return tuple(icons)

    def _children(
        self, element: Element, problems: Problems, depth: int
    ) -> tuple[Service | Device, ...]:
        lists = (part for part in element if local(part) in ("serviceList", "deviceList"))
        found = [(local(part), part) for each in lists for part in each]
        ids = {
            part: service_id
            for kind, part in found
            if kind == "service" and (service_id := self._service_id(part, problems))
        }
        levels = dict(zip(ids, service_levels(ids.values()), strict=True))
        parts: list[Service | Device | None] = []
        for kind, part in found:
            if part in ids:
                parts.append(self._service(part, ids[part], levels[part], problems))
            elif kind == "device":
                parts.append(self._embedded(part, problems, depth + 1))
        return tuple(part for part in parts if part is not None)

    def _service_id(self, element: Element, problems: Problems) -> str | None:
        if self._services == MAX_SERVICES:
            problems.add(f"more than {MAX_SERVICES} services: the rest left out")
            return None
        self._services += 1
        if service_id := one_line(child_text(element, "serviceId"))[:MAX_TEXT]:
            return service_id
        service_type = one_line(child_text(element, "serviceType"))[:MAX_TEXT]
        name = service_type.split(":")[-2:][0]
        if not name:
            problems.add("service with neither serviceId nor serviceType: left out")
            return None
        problems.add(f"service without a serviceId: {name}, from its serviceType")
        return name

    def _service(
        self, element: Element, service_id: str, level: str, problems: Problems
    ) -> Service | None:
        if len(level) > MAX_LEVEL:
            problems.add(f"service {level[:50]}…: the serviceId is too long, left out")
            return None

        def url(name: str) -> str:
            written = child_text(element, name)
            if not written and name != "eventSubURL":  # without it, nothing is evented
                problems.add(f"{level}: no {name}")
            try:
                return self._urls.to_ask(written) if written else ""
            except ValueError as error:
                problems.add(f"{level}: {name}: {error}, left out")
                return ""

        service_type = one_line(child_text(element, "serviceType"))[:MAX_TEXT]
        if not service_type:
            problems.add(f"{level}: no serviceType")
        return Service(
            service_id=service_id,
            service_type=intern(service_type),
            level=level,
            scpd_url=url("SCPDURL"),
            control_url=url("controlURL"),
            event_url=url("eventSubURL") or None,
            scpd=NO_SCPD,
        )

"""Model devices: what they say of themselves, what they hold, and what was done to them."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from html import unescape
from random import Random
from xml.sax.saxutils import escape, quoteattr

from bridge.model.device import Description
from bridge.upnp.description.device_description import read_description
from bridge.upnp.description.scpd import read_scpd, with_scpds
from bridge.upnp.http.client import Response
from tests.adapter.device import Action, Part, Service, Variable
from tests.simulation.naive_faults import Away
from tests.simulation.naive_tree import Served

SERVER = "Model/1 UPnP/1.1 Test/1"
NOTEBOOKS = ("/note", "/inner")
"""The paths of the services of which a variable has to be asked for."""
VARIANTS = 4
SEEN_VARIANTS = 3
"""How many of them differ in the description itself."""

_NOTEBOOK = (
    Variable("Note"),
    Variable("Level", "ui2", range=("0", "100", "1")),
    Variable("Told", evented=False),
    Action("SetNote", ("in NewNote:Note",)),
    Action("GetNote", ("ret Note:Note",)),
    Action("GetTold", ("out CurrentTold:Told",)),
)
_RENDERING = (
    Variable("LastChange"),
    Variable("Volume", "ui2", evented=False, range=("0", "100", "1")),
    Variable("Mute", "boolean", evented=False),
    Variable("A_ARG_TYPE_InstanceID", "ui4", evented=False),
    Variable("A_ARG_TYPE_Channel", evented=False, allowed=("Master", "LF")),
    Action(
        "GetVolume",
        (
            "in InstanceID:A_ARG_TYPE_InstanceID",
            "in Channel:A_ARG_TYPE_Channel",
            "out CurrentVolume:Volume",
        ),
    ),
)
_GAUGE = (
    Variable("Level", "ui2"),
    Variable("Größe", "r4", range=("-0.50", "1e3")),
    Variable("Count", "i4", default="007"),
    Variable("On", "boolean", default="no"),
    Action("SetCount", ("in Neu:Count",)),
)
"""Names and values that are written otherwise in the tree."""
_MORE = (
    "<manufacturer>Müller &amp; Söhne</manufacturer><manufacturerURL>/m</manufacturerURL>"
    "<modelName>One</modelName><serialNumber>007</serialNumber><iconList><icon>"
    "<mimetype>image/png</mimetype><width>48</width><height>32</height><depth>24</depth>"
    "<url>i/1.png</url></icon></iconList><presentationURL>../ui?a=b</presentationURL>"
)
_EXTRA = (Variable("Extra", evented=False), Action("ClearExtra"))
_ACTION = re.compile(rb"<u:(\w+) ")
_NOTE = re.compile(rb"<NewNote>([^<]*)</NewNote>")
_ENVELOPE = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    '<u:{0}Response xmlns:u="urn:x">{1}</u:{0}Response></s:Body></s:Envelope>'
)
_FAULT = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><detail>'
    "<UPnPError><errorCode>501</errorCode></UPnPError></detail></s:Fault></s:Body></s:Envelope>"
)


def _part(udn: str, variant: int) -> Part:
    """The device in one of its variants: another name, a service less, an SCPD with more."""
    note = _NOTEBOOK + (_EXTRA if variant == 3 else ())
    services = [Service("Notebook", note, path="/note")]
    if variant != 2:
        services.append(Service("RenderingControl", _RENDERING, path="/sound"))
    if udn == "plain-1":
        gauge = Service("", _GAUGE, service_id="urn:müller:serviceId:Gauge 1", path="/gauge")
        services.append(gauge)
    inner = Service("Notebook", _NOTEBOOK, path="/inner")
    parts = (Part(f"{udn}-in", "Inner", (inner,)),) if udn.startswith("nested") else ()
    part = Part(udn, f"Name {variant == 1}", tuple(services), parts)
    return replace(part, more=_MORE) if udn == "plain-1" else part


@lru_cache(maxsize=256)
def documents(udn: str, variant: int) -> dict[str, bytes]:
    """Everything that a device serves, by path."""
    part = _part(udn, variant)
    root = (
        '<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major>'
        f"<minor>1</minor></specVersion>{part.xml()}</root>"
    )
    found = {"/d.xml": root.encode()}
    for one in part.walk():
        for service in one.services:
            found[f"{service.path}/scpd.xml"] = service.scpd().encode()
    return found


@lru_cache(maxsize=1024)
def description(udn: str, variant: int, location: str) -> Description:
    """What a device's documents say, read at once and without a network."""
    held = documents(udn, variant)
    base = location.removesuffix("/d.xml")
    read = read_description(held["/d.xml"], location, foreign=lambda _: True, server=SERVER)
    scpds = {f"{base}{path}": read_scpd(body) for path, body in held.items() if "scpd" in path}
    device = with_scpds(read.device, scpds)
    return Description(device, read.location, read.upnp_version, read.server)


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; `headers` by name as it was sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(eq=False, slots=True)
class Subscriber:
    """Who is sent the events of a service; `seq` is that of the next one."""

    sid: str
    path: str
    callback: str
    expires_s: float
    seq: int = 0


@dataclass(eq=False, slots=True)
class Device:
    """A device of the model. `send` sends an event, by subscriber and its body.

    `state` has its values by service path and variable, those of LastChange by `name/channel`.
    """

    udn: str
    host: str
    send: Callable[["Device", Subscriber, bytes], None]
    port: int = 8000
    variant: int = 0
    boot_id: int = 1
    config_id: int = 1
    max_age_s: int = 120
    is_up: bool = False
    is_bare: bool = False
    """Whether its announcements bear neither BOOTID nor CONFIGID."""
    draws: bool = False
    """Whether each of its announcements bears another BOOTID."""
    is_lie: bool = False
    """Whether it only claims to be who it says."""
    refuses: bool = False
    """Whether it refuses subscriptions."""
    life: int = 0
    forgotten: int = -1
    """The life after which the bridge was told to forget it, unless it may know it again."""
    state: dict[str, dict[str, str]] = field(default_factory=dict)
    past: defaultdict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    """All that every variable has ever been."""
    subscribers: dict[str, Subscriber] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    """The notes that were set by SetNote, whether the caller heard of it or not."""

    @property
    def location(self) -> str:
        return f"http://{self.host}:{self.port}/d.xml"

    @property
    def description(self) -> Description:
        return description(self.udn, self.variant, self.location)

    @property
    def udns(self) -> tuple[str, ...]:
        return tuple(one.udn for one in self.description.device.walk())

    def start(self) -> None:
        """Be up, with values as after a start and nobody subscribed."""
        self.is_up = True
        self.life += 1
        self.subscribers.clear()
        self.refuses = False
        told = {"Note": f"fresh {self.life}", "Level": "0"}
        self.state = {"/note": dict(told), "/inner": dict(told)}
        self.state["/sound"] = {"Volume/Master": "10", "Volume/LF": "20", "Mute": "0"}
        self.state["/gauge"] = {"Level": "0", "Größe": "1.50", "Count": "007", "On": "yes"}
        for path, values in self.state.items():
            for name, text in values.items():
                self.past[path, name].add(text)
            self.past[path, "Told"].add(self.told)

    @property
    def told(self) -> str:
        """What it answers for the variable that no event tells."""
        return f"told {self.life}"

    @property
    def served(self) -> Served:
        """What it serves now, for the naive tree."""
        paths = self.paths()
        return Served(
            self.location,
            SERVER,
            documents(self.udn, self.variant),
            {f"{path}/event": self.event(path, self.state[path]) for path in paths},
            {f"{path}/control": {"Told": self.told} for path in paths if path in NOTEBOOKS},
        )

    @property
    def left(self) -> Away:
        """What may be left of it while it is away."""
        past = {
            (f"{path}/event", _within(name) if path == "/sound" else (name,)): texts
            for (path, name), texts in self.past.items()
        }
        files = [documents(self.udn, variant) for variant in range(VARIANTS)]
        return Away(self.udns, SERVER, files, past, is_forgotten=self.forgotten == self.life)

    def paths(self) -> tuple[str, ...]:
        """The paths of the services that it has in its variant."""
        return tuple(path[:-9] for path in documents(self.udn, self.variant) if "scpd" in path)

    def change(self, path: str, name: str, text: str, now_s: float) -> None:
        """Give a variable a value, and tell the subscribers."""
        self.state[path][name] = text
        self.past[path, name].add(text)
        body = self.event(path, {name: text})
        for one in self._live(path, now_s):
            self.send(self, one, body)

    def event(self, path: str, values: dict[str, str]) -> bytes:
        if path == "/sound":
            inside = "".join(_change(name, text) for name, text in values.items())
            event = f'<Event><InstanceID val="0">{inside}</InstanceID></Event>'
            values = {"LastChange": event}
        told = "".join(
            f"<e:property><{name}>{escape(text)}</{name}></e:property>"
            for name, text in values.items()
        )
        return f'<e:propertyset xmlns:e="urn:x">{told}</e:propertyset>'.encode()

    def _live(self, path: str, now_s: float) -> Iterator[Subscriber]:
        for one in tuple(self.subscribers.values()):
            if one.expires_s < now_s:
                del self.subscribers[one.sid]
            elif one.path == path:
                yield one

    def held(self, path: str, now_s: float) -> list[Subscriber]:
        """The subscriptions to a service that have not expired."""
        return list(self._live(path, now_s))

    def answer(self, request: Request, now_s: float, rng: Random) -> Response:
        """Do what a request wants, as an honest device does."""
        method, path = request.method, request.path
        if method == "GET":
            found = documents(self.udn, self.variant).get(path)
            return Response(200, {}, found) if found else Response(404, {}, b"")
        service, _, what = path.rpartition("/")
        if service not in self.paths():
            return Response(404, {}, b"")
        match method:
            case "SUBSCRIBE":
                return self._subscribe(service, request.headers, now_s, rng)
            case "UNSUBSCRIBE":
                gone = self.subscribers.pop(request.headers.get("SID", ""), None)
                return Response(200 if gone else 412, {}, b"")
        return (
            self._act(service, request.body, now_s) if what == "control" else Response(404, {}, b"")
        )

    def _subscribe(
        self, path: str, headers: Mapping[str, str], now_s: float, rng: Random
    ) -> Response:
        if self.refuses:
            return Response(503, {}, b"")
        granted_s = rng.choice((60, 120, 300))
        if sid := headers.get("SID"):
            one = self.subscribers.get(sid)
            if one is None or one.expires_s < now_s or one.path != path:
                return Response(412, {}, b"")
            one.expires_s = now_s + granted_s
        else:
            sid = f"uuid:{self.udn}-{rng.getrandbits(48)}"
            callback = headers["CALLBACK"].strip("<>")
            one = Subscriber(sid, path, callback, now_s + granted_s)
            self.subscribers[sid] = one
            self.send(self, one, self.event(path, self.state[path]))
        return Response(200, {"sid": sid, "timeout": f"Second-{granted_s}"}, b"")

    def _act(self, path: str, body: bytes, now_s: float) -> Response:
        named = _ACTION.search(body)
        name = named[1].decode() if named else ""
        values = self.state[path]
        match name:
            case "SetNote":
                found = _NOTE.search(body)
                text = unescape(found[1].decode()) if found else ""
                self.done[text] += 1
                self.change(path, "Note", text, now_s)
                out = ""
            case "GetNote":
                out = f"<Note>{escape(values['Note'])}</Note>"
            case "GetTold":
                out = f"<CurrentTold>{self.told}</CurrentTold>"
            case "GetVolume":
                out = f"<CurrentVolume>{values['Volume/Master']}</CurrentVolume>"
            case _:
                return Response(500, {}, _FAULT.encode())
        return Response(200, {}, _ENVELOPE.format(name, out).encode())


def _within(name: str) -> tuple[str, ...]:
    """Return where a value of LastChange stands."""
    variable, *channel = name.split("/")
    return variable, "0", *channel


def _change(name: str, text: str) -> str:
    variable, _, channel = name.partition("/")
    at = f" channel={quoteattr(channel)}" if channel else ""
    return f"<{variable}{at} val={quoteattr(text)}/>"

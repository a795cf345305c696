"""Subscriptions against devices on loopback that grant, refuse, forget and fall silent."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest
from structlog.testing import capture_logs

from bridge.errors import DeviceUnreachable
from bridge.model.device import Description, Device, Scpd, Service
from bridge.upnp.gena.notify_server import NotifyServer
from bridge.upnp.gena.subscriber import Subscriber
from bridge.upnp.gena.subscription import Times
from bridge.upnp.http.client import HttpClient, local_address_towards

BODY = b"<e:propertyset xmlns:e='urn:x'><e:property><A>%d</A></e:property></e:propertyset>"
SCPD = Scpd.of(())


def service(url: str | None, level: str = "Switch") -> Service:
    service_id = f"urn:upnp-org:serviceId:{level}"
    return Service(service_id, "urn:x:service:Switch:1", level, "", "", url, SCPD)


def described(*children: Service | Device, udn: str = "root") -> Description:
    device = Device(udn, "urn:x:device:Light:1", "Light", children=children)
    return Description(device, "http://127.0.0.1/", "1.1")


@dataclass(frozen=True)
class Request:
    """What the device was asked."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def callback(self) -> str:
        return self.headers["CALLBACK"].strip("<>")


@dataclass
class Publisher:
    """A tiny GENA device: answers as `answers` says for a method, `renewals` for a renewal."""

    port: int = 0
    asked: list[Request] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    refusals: dict[str, str] = field(default_factory=dict)
    timeout: str = "Second-300"
    early_events: int = 0
    initial: bool = True
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    granted: dict[str, str] = field(default_factory=dict)
    at_once: int = 0
    most_at_once: int = 0
    pause_s: float = 0.0

    def url(self, path: str = "/event") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def count(self, kind: str) -> int:
        return sum(kind_of(request) == kind for request in self.asked)

    async def until(self, kind: str, count: int) -> Request:
        """Wait until it was asked so often, and return the last such request."""
        async with asyncio.timeout(5):
            while self.count(kind) < count:
                self.news.clear()
                await self.news.wait()
        return [request for request in self.asked if kind_of(request) == kind][-1]

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.answer(reader, writer))
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            method, path, _ = lines[0].split()
            request = Request(method, path, headers)
            self.asked.append(request)
            self.news.set()
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            sid = f"uuid:{len(self.asked)}"
            await asyncio.sleep(self.pause_s)
            for seq in range(self.early_events if "CALLBACK" in headers else 0):
                assert await notify(request.callback, sid, seq) == 200
            kind = kind_of(request)
            status = self.refusals.get(kind, "200 OK")
            head = f"HTTP/1.1 {status}\r\nTIMEOUT: {self.timeout}\r\n"
            sid = self.granted.get(kind, sid)
            if (kind == "SUBSCRIBE" or kind in self.granted) and "SID" not in self.refusals:
                head += f"SID: {sid}\r\n"
            if status != "mute":
                writer.write(f"{head}\r\n".encode())
            elif kind != "UNSUBSCRIBE":
                await self.ended.wait()
            writer.close()
            if kind == "SUBSCRIBE" and status == "200 OK" and self.initial:
                await asyncio.sleep(0.02)
                await notify(request.callback, sid, 0)
        finally:
            self.at_once -= 1
            writer.close()
            self.news.set()


def kind_of(request: Request) -> str:
    renewal = request.method == "SUBSCRIBE" and "SID" in request.headers
    return "renewal" if renewal else request.method


async def notify(url: str, sid: str, seq: int, body: bytes | None = None) -> int:
    """Send an event and return the status of the answer."""
    found = re.fullmatch(r"http://([\d.]+):(\d+)(/.+)", url)
    assert found
    reader, writer = await asyncio.open_connection(found[1], int(found[2]))
    body = BODY % seq if body is None else body
    head = f"NOTIFY {found[3]} HTTP/1.1\r\nNT: upnp:event\r\nNTS: upnp:propchange\r\n"
    head += f"SID: {sid}\r\nSEQ: {seq}\r\nCONTENT-LENGTH: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    status = int((await reader.readuntil(b"\r\n\r\n")).split()[1])
    writer.close()
    return status


@asynccontextmanager
async def publishing(**kwargs) -> AsyncIterator[Publisher]:
    publisher = Publisher(**kwargs)
    server = await asyncio.start_server(publisher.serve, "127.0.0.1", 0)
    async with server:
        publisher.port = server.sockets[0].getsockname()[1]
        yield publisher
        publisher.ended.set()
        while publisher.serving:
            await asyncio.wait(publisher.serving, timeout=5)


@dataclass
class Bridge:
    """What subscribes, and what it tells."""

    server: NotifyServer
    events: list[tuple[str, str, list[tuple[str, str]], bool]] = field(default_factory=list)
    suspects: list[str] = field(default_factory=list)
    subscriptions: Subscriber = field(init=False)

    def on_properties(
        self, udn: str, level: str, properties: list[tuple[str, str]], *, initial: bool
    ) -> None:
        self.events.append((udn, level, properties, initial))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():  # noqa: ASYNC110 - what is waited for is not only what it tells
                await asyncio.sleep(0.01)

    def states(self, udn: str = "root") -> dict[str, str]:
        return {key: one.state for key, one in self.subscriptions.health(udn).items()}


@asynccontextmanager
async def bridging(*, running: bool = True, **kwargs) -> AsyncIterator[Bridge]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(NotifyServer("127.0.0.1", 0))
        bridge = Bridge(server)
        bridge.subscriptions = Subscriber(
            HttpClient(1.0),
            server,
            on_properties=bridge.on_properties,
            on_suspect=bridge.suspects.append,
            **{
                "local_address_towards": local_address_towards,
                "callback_host": None,
                "rng": Random(1),
                **kwargs,
            },
        )
        task = asyncio.create_task(bridge.subscriptions.run()) if running else None
        await asyncio.sleep(0)
        yield bridge
        if task:
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("upnp.")]


async def test_a_service_is_subscribed_to_as_the_standard_has_it():
    async with publishing() as device, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(device.url("/event?x=1"))))
        request = await device.until("SUBSCRIBE", 1)
        assert (request.method, request.path) == ("SUBSCRIBE", "/event?x=1")
        assert request.headers["HOST"] == f"127.0.0.1:{device.port}"
        assert request.headers["NT"] == "upnp:event"
        assert request.headers["TIMEOUT"] == "Second-300"
        pattern = rf"<http://127\.0\.0\.1:{bridge.server.port}/[\w-]{{22}}>"
        assert re.fullmatch(pattern, request.headers["CALLBACK"])
        await bridge.until(lambda: bool(bridge.events))
        assert bridge.events == [("root", "Switch", [("A", "0")], True)]
        assert bridge.states() == {"root/Switch": "subscribed"}


async def test_every_evented_service_is_subscribed_to_those_of_embedded_devices_too():
    async with publishing() as device, bridging() as bridge:
        embedded = Device("inner", "t", "n", children=(service(device.url("/3"), "Dimming"),))
        services = service(device.url("/1")), service(None, "Mute"), service(device.url("/2"), "B")
        bridge.subscriptions.subscribe(described(*services, embedded))
        await bridge.until(lambda: len(bridge.events) == 3)
        assert bridge.states() == dict.fromkeys(
            ("root/Switch", "root/B", "inner/Dimming"), "subscribed"
        )
        assert {event[:2] for event in bridge.events} == {
            ("root", "Switch"),
            ("root", "B"),
            ("inner", "Dimming"),
        }
        paths = {request.callback for request in device.asked}
        assert len(paths) == 3


async def test_a_device_is_asked_one_thing_at_a_time_and_devices_side_by_side():
    async with (
        publishing(pause_s=0.05, initial=False) as one,
        publishing(pause_s=0.05, initial=False) as other,
        bridging() as bridge,
    ):
        for udn, device in (("one", one), ("other", other)):
            services = (service(device.url(f"/{n}"), f"S{n}") for n in range(4))
            bridge.subscriptions.subscribe(described(*services, udn=udn))
        await one.until("SUBSCRIBE", 2)
        assert other.asked
        await bridge.until(
            lambda: (
                {*bridge.states("one").values(), *bridge.states("other").values()} == {"subscribed"}
            )
        )
        assert one.most_at_once == other.most_at_once == 1


async def test_no_more_than_32_requests_are_under_way_in_all():
    async with publishing(pause_s=0.1, initial=False) as device, bridging() as bridge:
        for number in range(40):
            bridge.subscriptions.subscribe(
                described(service(device.url()), udn=f"device {number}"),
            )
        await device.until("SUBSCRIBE", 40)
        assert device.most_at_once == 32
        await bridge.until(lambda: "pending" not in bridge.states("device 39").values())


async def test_events_that_overtake_the_answer_to_subscribe_are_delivered_in_order():
    async with publishing(early_events=5, initial=False) as device, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        await bridge.until(lambda: bridge.states() == {"root/Switch": "subscribed"})
        assert [event[2] for event in bridge.events] == [[("A", str(seq))] for seq in range(5)]
        assert [event[3] for event in bridge.events] == [True, False, False, False, False]


async def test_what_is_subscribed_to_before_the_work_begins_is_not_forgotten():
    async with publishing() as device, bridging(running=False) as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        assert bridge.states() == {"root/Switch": "pending"}
        task = asyncio.create_task(bridge.subscriptions.run())
        await bridge.until(lambda: bool(bridge.events))
        task.cancel()
        await asyncio.wait({task})


async def test_events_under_another_sid_or_to_an_old_path_are_answered_412():
    async with publishing() as device, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        await bridge.until(lambda: bool(bridge.events))
        callback = device.asked[0].callback
        assert await notify(callback, "uuid:else", 1) == 412
        assert await notify(callback, "uuid:1", 1) == 200
        assert await notify(callback, "", 2) == 200
        bridge.subscriptions.drop("root", unsubscribe=False)
        assert await notify(callback, "uuid:1", 3) == 412
        assert len(bridge.events) == 3


@pytest.mark.parametrize(
    "sid", ["UUID:1", "1", "<uuid:1>", '"uuid:1"', " Uuid:1 ", "uuid:uuid:1", "uuid: 1"]
)
async def test_a_sid_that_is_written_otherwise_is_the_subscription_s_own(sid):
    async with publishing() as device, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        await bridge.until(lambda: bool(bridge.events))
        assert await notify(device.asked[0].callback, sid, 1) == 200
        assert len(bridge.events) == 2
        assert await notify(device.asked[0].callback, sid.replace("1", "11"), 2) == 412


@pytest.mark.parametrize("written", ["UUID:AB", "ab", "<uuid:ab>", '"uuid:ab"'])
async def test_a_device_is_told_its_sid_as_it_first_wrote_it(written):
    granted = {"SUBSCRIBE": "uuid:ab", "renewal": written}
    async with (
        publishing(timeout="Second-0", granted=granted) as device,
        bridging(times=SOON) as bridge,
    ):
        bridge.subscriptions.subscribe(described(service(device.url())))
        assert (await device.until("renewal", 3)).headers["SID"] == "uuid:ab"
        assert device.count("SUBSCRIBE") == 1


async def test_one_sid_from_two_devices_is_two_subscriptions():
    async with publishing() as one, publishing() as other, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(one.url()), udn="one"))
        bridge.subscriptions.subscribe(described(service(other.url()), udn="other"))
        await bridge.until(lambda: len(bridge.events) == 2)
        assert await notify(one.asked[0].callback, "uuid:1", 1) == 200
        assert bridge.events[-1][0] == "one"
        assert await notify(other.asked[0].callback, "uuid:1", 1) == 200
        assert bridge.events[-1][0] == "other"


async def test_a_gap_is_healed_by_a_new_subscription_on_a_new_path():
    async with publishing() as device, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        await bridge.until(lambda: len(bridge.events) == 1)
        callback = device.asked[0].callback
        assert await notify(callback, "uuid:1", 5) == 200
        again = await device.until("SUBSCRIBE", 2)
        assert [kind_of(request) for request in device.asked] == [
            "SUBSCRIBE",
            "UNSUBSCRIBE",
            "SUBSCRIBE",
        ]
        assert device.asked[1].headers["SID"] == "uuid:1"
        assert again.callback != callback
        assert await notify(callback, "uuid:1", 6) == 412
        await bridge.until(lambda: len(bridge.events) == 3)
        assert bridge.events[-1][3] is True
        health = bridge.subscriptions.health("root")["root/Switch"]
        assert (health.gaps, health.resubscriptions, health.events) == (1, 1, 3)


async def test_a_device_that_always_sends_seq_0_keeps_its_subscription():
    async with publishing() as device, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        await bridge.until(lambda: len(bridge.events) == 1)
        for _ in range(5):
            assert await notify(device.asked[0].callback, "uuid:1", 0) == 200
        assert len(bridge.events) == 6
        assert len(device.asked) == 1


async def test_a_stale_event_is_answered_and_not_delivered():
    async with publishing() as device, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        await bridge.until(lambda: len(bridge.events) == 1)
        for seq in (1, 2, 1):
            assert await notify(device.asked[0].callback, "uuid:1", seq) == 200
        assert len(bridge.events) == 3


MALFORMED = (b"", b"<html/>", b"\xff\xfe\x00", b"<!DOCTYPE a><propertyset/>")


async def test_a_malformed_event_is_answered_counted_and_logged_once():
    async with publishing() as device, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        await bridge.until(lambda: len(bridge.events) == 1)
        with capture_logs() as logs:
            for seq, body in enumerate(MALFORMED, 1):
                assert await notify(device.asked[0].callback, "uuid:1", seq, body) == 200
        assert len(bridge.events) == 1
        assert bridge.subscriptions.health("root")["root/Switch"].malformed == 4
        warnings = [entry for entry in logs if entry["log_level"] == "warning"]
        assert [entry["event"] for entry in warnings] == ["event_malformed"]


@pytest.mark.parametrize(
    "refusals",
    [
        {"SUBSCRIBE": "405 Method Not Allowed"},
        {"SUBSCRIBE": "412 Precondition Failed"},
        {"SUBSCRIBE": "503 Service Unavailable"},
        {"SUBSCRIBE": "mumble"},
        {"SID": ""},
    ],
    ids=["405 as Sonos QPlay", "412 as Technicolor routers", "503", "no status", "no SID"],
)
async def test_a_refusal_concerns_that_service_alone(refusals):
    async with publishing(refusals=refusals) as odd, publishing() as good, bridging() as bridge:
        with capture_logs() as logs:
            services = service(odd.url(), "QPlay"), service(good.url())
            bridge.subscriptions.subscribe(described(*services))
            await bridge.until(
                lambda: bridge.states() == {"root/QPlay": "refused", "root/Switch": "subscribed"}
            )
        assert bridge.subscriptions.health("root")["root/QPlay"].refused == 1
        assert not bridge.suspects
        warnings = [entry for entry in logs if entry["log_level"] == "warning"]
        assert [entry["service"] for entry in warnings] == ["root/QPlay"]
        assert len(bridge.server.receivers) == 1


async def test_a_device_that_is_not_there_is_suspected():
    async with publishing() as device:
        url = device.url()
    async with bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(url)))
        await bridge.until(lambda: bridge.states() == {"root/Switch": "lost"})
        assert bridge.suspects == ["root"]
        assert not bridge.server.receivers


async def test_a_device_without_a_way_to_it_is_suspected():
    async def no_way(host: str, port: int) -> str:
        raise DeviceUnreachable(f"{host}:{port}")

    async with bridging(local_address_towards=no_way) as bridge:
        bridge.subscriptions.subscribe(described(service("http://127.0.0.1:9/")))
        await bridge.until(lambda: bridge.suspects == ["root"])
        assert bridge.states() == {"root/Switch": "lost"}


@pytest.mark.parametrize("url", ["", "ftp://x/", "http://[::1", "http://\0/", "http://a:99999/"])
async def test_an_event_url_that_is_none_breaks_nothing(url):
    async with publishing() as device, bridging() as bridge:
        services = service(url or None, "Odd"), service(device.url())
        bridge.subscriptions.subscribe(described(*services))
        await bridge.until(lambda: bridge.states().get("root/Switch") == "subscribed")
        assert bridge.states().get("root/Odd") in (None, "refused")


@pytest.mark.parametrize(
    ("host", "authority"),
    [("192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", r"\[fe80::1\]"), ("me.lan", r"me\.lan")],
)
async def test_the_callback_is_at_the_host_that_was_configured(host, authority):
    async with publishing(initial=False) as device, bridging(callback_host=host) as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        request = await device.until("SUBSCRIBE", 1)
        assert re.fullmatch(rf"<http://{authority}:\d+/[\w-]+>", request.headers["CALLBACK"])


async def test_the_callback_is_at_the_address_that_faces_the_device():
    asked: list[tuple[str, int]] = []

    async def facing(host: str, port: int) -> str:
        asked.append((host, port))
        return "2001:db8::5"

    async with (
        publishing(initial=False) as device,
        bridging(local_address_towards=facing) as bridge,
    ):
        bridge.subscriptions.subscribe(described(service(device.url())))
        request = await device.until("SUBSCRIBE", 1)
        assert request.headers["CALLBACK"].startswith("<http://[2001:db8::5]:")
        assert asked == [("127.0.0.1", device.port)]


async def test_a_service_that_never_speaks_is_silent_with_one_warning_until_it_does():
    async with publishing(initial=False) as device, bridging(silence_s=0.05) as bridge:
        with capture_logs() as logs:
            bridge.subscriptions.subscribe(described(service(device.url())))
            await bridge.until(lambda: bridge.states() == {"root/Switch": "silent"})
        assert [e["event"] for e in logs if e["log_level"] == "warning"] == ["no_initial_event"]
        assert await notify(device.asked[0].callback, "uuid:1", 0) == 200
        assert bridge.states() == {"root/Switch": "subscribed"}


SOON = Times(soonest_renewal_s=0.1, second_try_s=0.1, answer_s=0.2)
"""Renewals and second tries are due soon."""


async def test_a_subscription_is_renewed_by_its_sid_and_goes_on():
    async with publishing(timeout="Second-0") as device, bridging(times=SOON) as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        renewal = await device.until("renewal", 2)
        assert renewal.headers["SID"] == "uuid:1"
        assert renewal.headers["TIMEOUT"] == "Second-300"
        assert not {"CALLBACK", "NT"} & renewal.headers.keys()
        assert device.count("SUBSCRIBE") == 1
        assert await notify(device.asked[0].callback, "uuid:1", 1) == 200
        assert bridge.subscriptions.health("root")["root/Switch"].renewals >= 1


@pytest.mark.parametrize(
    ("status", "holds"),
    [("200 OK", True), ("412 Precondition Failed", False), ("503 Busy", None), ("mute", None)],
)
async def test_a_device_is_asked_by_one_renewal_whether_it_knows_its_subscribers(status, holds):
    async with publishing() as device, bridging(times=Times(proof_s=0.3)) as bridge:
        both = (service(device.url("/1"), "One"), service(device.url("/2"), "Two"))
        bridge.subscriptions.subscribe(described(*both))
        await bridge.until(lambda: set(bridge.states().values()) == {"subscribed"})
        device.refusals["renewal"] = status
        assert await bridge.subscriptions.holds("root") is holds
        assert (device.count("renewal"), device.count("SUBSCRIBE")) == (1, 2)
        assert await bridge.subscriptions.holds("nobody") is None


async def test_a_device_that_is_not_there_knows_no_subscribers():
    async with bridging() as bridge:
        async with publishing() as device:
            bridge.subscriptions.subscribe(described(service(device.url())))
            await bridge.until(lambda: bridge.states() == {"root/Switch": "subscribed"})
        assert await bridge.subscriptions.holds("root") is False


async def test_what_a_device_grants_when_it_is_asked_counts():
    async with publishing(timeout="Second-300") as device, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        await bridge.until(lambda: bridge.states() == {"root/Switch": "subscribed"})
        device.timeout, device.granted = "Second-20", {"renewal": "uuid:other"}
        assert await bridge.subscriptions.holds("root")
        [item] = bridge.subscriptions._roots["root"]
        assert item.subscription.due[0] <= asyncio.get_running_loop().time() + 10
        assert await notify(device.asked[0].callback, "uuid:other", 1) == 200


async def test_a_refused_renewal_is_followed_by_a_new_subscription_at_once():
    refusals = {"renewal": "412 Precondition Failed"}
    async with (
        publishing(timeout="Second-0", refusals=refusals) as device,
        bridging(times=SOON) as bridge,
    ):
        bridge.subscriptions.subscribe(described(service(device.url())))
        again = await device.until("SUBSCRIBE", 2)
        assert again.callback != device.asked[0].callback
        assert device.count("UNSUBSCRIBE") == 0
        await bridge.until(lambda: len(bridge.events) >= 2)
        assert bridge.suspects[0] == "root"  # it may have restarted, as another


async def test_after_a_renewal_without_an_answer_all_services_are_subscribed_to_anew():
    async with (
        publishing(timeout="Second-0", refusals={"renewal": "mute"}) as device,
        publishing() as other,
        bridging(times=SOON) as bridge,
    ):
        both = (service(device.url()), service(other.url(), level="Other"))
        bridge.subscriptions.subscribe(described(*both))
        await device.until("renewal", 1)
        assert await notify(device.asked[0].callback, "uuid:1", 1) == 200
        await other.until("SUBSCRIBE", 2)
        await device.until("SUBSCRIBE", 2)
        kinds = [kind_of(request) for request in device.asked]
        assert kinds[:4] == ["SUBSCRIBE", "renewal", "UNSUBSCRIBE", "SUBSCRIBE"]
        assert [kind_of(one) for one in other.asked] == ["SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE"]
        assert bridge.suspects == ["root"]


async def test_subscribing_anew_replaces_what_there_was_as_a_rebooted_sonos_needs():
    async with publishing() as before, publishing() as after, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(before.url()), service(before.url(), "B")))
        await bridge.until(lambda: len(bridge.events) == 2)
        bridge.subscriptions.subscribe(described(service(after.url())))
        await before.until("UNSUBSCRIBE", 2)
        await bridge.until(lambda: len(bridge.events) == 3)
        sids = {r.headers["SID"] for r in before.asked if r.method == "UNSUBSCRIBE"}
        assert sids == {"uuid:1", "uuid:2"}
        assert bridge.states() == {"root/Switch": "subscribed"}
        assert len(bridge.server.receivers) == 1


async def test_a_device_that_left_is_dropped_without_a_word():
    async with publishing() as device, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        await bridge.until(lambda: bool(bridge.events))
        bridge.subscriptions.drop("root", unsubscribe=False)
        bridge.subscriptions.drop("root", unsubscribe=True)
        bridge.subscriptions.drop("nobody", unsubscribe=True)
        await asyncio.sleep(0.05)
        assert len(device.asked) == 1
        assert bridge.states() == {}
        assert not bridge.server.receivers


async def test_a_device_may_be_dropped_by_whom_it_is_suspected():
    async with publishing() as device:
        url = device.url()
    async with bridging() as bridge:

        def drop(udn: str) -> None:
            bridge.suspects.append(udn)
            bridge.subscriptions.drop(udn, unsubscribe=True)

        bridge.subscriptions._on_suspect = drop
        bridge.subscriptions.subscribe(described(service(url), service(url, "B")))
        await bridge.until(lambda: bool(bridge.suspects))
        await asyncio.sleep(0.05)
        assert bridge.suspects == ["root"]


async def subscribed(bridge: Bridge, devices: Iterable[Publisher]) -> None:
    for device in devices:
        services = (service(device.url(), f"S{number}") for number in range(3))
        bridge.subscriptions.subscribe(described(*services, udn=f"{device.port}"))
        await device.until("SUBSCRIBE", 3)
    await bridge.until(lambda: len(bridge.events) >= 3)


async def test_closing_unsubscribes_everywhere_and_waits_for_nobody_for_long():
    hurried = bridging(times=Times(farewell_s=0.3))
    async with publishing() as good, publishing() as slow, hurried as bridge:
        await subscribed(bridge, (good, slow))
        await bridge.until(lambda: len(bridge.events) == 6)
        slow.pause_s = 1.5
        begun = asyncio.get_running_loop().time()
        await bridge.subscriptions.close()
        assert 0.25 < asyncio.get_running_loop().time() - begun < 1.4
        assert good.count("UNSUBSCRIBE") == slow.count("UNSUBSCRIBE") == 3
        for request in good.asked:
            if request.method == "UNSUBSCRIBE":
                assert not {"CALLBACK", "NT", "TIMEOUT"} & request.headers.keys()
        assert not bridge.server.receivers
        await bridge.until(lambda: slow.at_once == 0)


def test_closing_takes_two_seconds_at_most():
    assert Times().farewell_s == 2


async def test_closing_after_the_work_was_cancelled_unsubscribes_too():
    async with publishing() as device, bridging() as bridge:
        bridge.subscriptions.subscribe(described(service(device.url())))
        await bridge.until(lambda: bool(bridge.events))
        [task] = [t for t in asyncio.all_tasks() if "Subscriber.run" in repr(t)]
        task.cancel()
        await asyncio.wait({task})
        await bridge.subscriptions.close()
        assert device.count("UNSUBSCRIBE") == 1

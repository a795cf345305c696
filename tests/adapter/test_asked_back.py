"""What is asked of devices whose events do not come, come late, or tell only some of it.

Each in a world of its own: a device that does what its script says, a broker and the whole bridge.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import pytest
import pytest_asyncio

from tests.adapter.bridge import Caller, Onlooker, bridging, flags, onlooking
from tests.adapter.device import (
    Action,
    Answer,
    Call,
    Device,
    Part,
    Raw,
    Service,
    Variable,
    last_change,
    new_udn,
    running,
)
from tests.adapter.mosquitto import Running as Broker
from tests.adapter.mosquitto import mosquitto, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST_S = 5.0
SOON_S = 2.5
QUIET_S = 3.5
"""Longer than what is asked again after an action takes."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    async with mosquitto(tmp_path_factory.mktemp("asked")) as one:
        yield one


@dataclass
class World:
    """A device, what it holds by variable, and the bridge's answers and values of it."""

    device: Device
    onlooker: Onlooker
    caller: Caller
    holds: dict[str, str] = field(default_factory=dict)

    def text(self, own: str) -> str | None:
        payload = self.onlooker.held.get(f"{self.caller.base}/{self.device.udn}/{own}")
        return None if payload is None else payload.decode()

    async def shows(self, own: str, text: str, limit_s: float = SOON_S) -> None:
        try:
            await until(lambda: self.text(own) == text, limit_s)
        except TimeoutError:
            assert self.text(own) == text

    def history(self, own: str) -> list[str]:
        topic = f"{self.caller.base}/{self.device.udn}/{own}"
        return [one.payload.decode() for one in self.onlooker.messages if one.topic == topic]

    def times(self, action: str) -> int:
        return sum(call.action == action for call in self.device.calls)

    async def set(self, own: str, text: str, *, success: bool = True) -> None:
        udn = self.device.udn
        got = await self.caller.send(f"{udn}/{own}/set", text, on=f"{udn}/response")
        assert got["success"] is success

    async def call(self, action: str, **args: object) -> None:
        got = await self.caller.call(self.device.udn, {"action": action, "args": args})
        assert got["success"]


def hang() -> AsyncIterator[bytes]:
    """Say nothing for longer than any test takes."""

    async def never() -> AsyncIterator[bytes]:
        await asyncio.sleep(120)
        yield b""

    return never()


@asynccontextmanager
async def world_of(
    broker: Broker, root: Part, *, hangs: tuple[str, ...] = (), interval_s: int = 60
) -> AsyncIterator[World]:
    """A bridge beside a device whose services of these names never answer a SUBSCRIBE."""
    async with running(root) as device:
        for name in hangs:
            device.answers[f"{device.service(name).path}/event"] = hang
        base = f"asked/{root.udn}"
        chosen = flags(
            broker.port,
            root.name,
            mqtt__base_topic=base,
            upnp__poll_interval=str(interval_s),
            upnp__action_timeout="0.5",
        )
        with onlooking(broker.port) as onlooker:
            async with bridging(chosen):
                yield World(device, onlooker, Caller(onlooker, base))


# A switch


def switch(*, refuses: int = 0, evented: bool = True, told: str = "0") -> Part:
    power = Service(
        "SwitchPower",
        (
            Action("SetTarget", ("in newTargetValue:Target",)),
            Action("GetTarget", ("out RetTargetValue:Target",)),
            Action("GetStatus", ("out ResultStatus:Status",)),
            Action("Toggle"),
            Action("SetSecret", ("in S:Secret",)),
            Variable("Target", "boolean", evented=False),
            Variable("Status", "boolean"),
            Variable("Secret", evented=False),
        ),
        {"Status": told} if told else {},
        refuses=refuses,
        evented=evented,
    )
    udn = new_udn()
    return Part(udn, f"switch-{udn}", (power,))


def act(world: World, after: Callable[[str], None] = lambda _: None, delay_s: float = 0) -> None:
    """Have the switch do what it is told, a while after it has said so."""
    world.holds = {"Status": "0", "Target": "0"}

    def put(text: str) -> None:
        world.holds["Status"] = text
        after(text)

    async def set_target(call: Call) -> Answer:
        world.holds["Target"] = call.args["newTargetValue"]
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, put, world.holds["Target"])
        else:
            put(world.holds["Target"])
        return {}

    async def toggle(_: Call) -> Answer:
        put("1" if world.holds["Status"] == "0" else "0")
        return {}

    async def status(_: Call) -> Answer:
        return {"ResultStatus": world.holds["Status"]}

    async def target(_: Call) -> Answer:
        return {"RetTargetValue": world.holds["Target"]}

    world.device.actions |= {
        "SetTarget": set_target,
        "GetStatus": status,
        "GetTarget": target,
        "Toggle": toggle,
    }


STATUS = "SwitchPower/value/Status"
DEAFNESS: dict[str, tuple[Callable[[], Part], tuple[str, ...]]] = {
    "hangs": (switch, ("SwitchPower",)),
    "405": (lambda: switch(refuses=405), ()),
    "no event URL": (lambda: switch(evented=False), ()),
    "no first event": (switch, ()),
}


@pytest.mark.parametrize("why", DEAFNESS)
async def test_a_state_is_there_within_seconds_and_what_is_set_is_asked_back_at_once(
    broker: Broker, why: str
) -> None:
    make, hangs = DEAFNESS[why]
    root = make()
    async with running(root) as device:
        if why == "no first event":

            async def silent(*_: object) -> None: ...

            device._deliver = silent  # type: ignore[assignment,method-assign]
        for name in hangs:
            device.answers[f"{device.service(name).path}/event"] = hang
        base = f"asked/{root.udn}"
        chosen = flags(broker.port, root.name, mqtt__base_topic=base, upnp__poll_interval="60")
        with onlooking(broker.port) as onlooker:
            world = World(device, onlooker, Caller(onlooker, base))
            act(world)
            async with bridging(chosen):
                await until(lambda: world.text("availability") == "online")
                await world.shows(STATUS, "false", FIRST_S)
                await world.set(STATUS, "ON")
                await world.shows(STATUS, "true")
                await world.shows("SwitchPower/value/Target", "true")
                await world.call("SetTarget", newTargetValue=False)
                await world.shows(STATUS, "false")
                udn = device.udn
                topic = f"{udn}/SwitchPower/action/SetTarget/call"
                body = {"newTargetValue": True}
                await world.caller.send(topic, body, on=f"{udn}/response")
                await world.shows(STATUS, "true")
                await world.call("Toggle")
                await world.shows(STATUS, "false")
                assert world.history(STATUS) == ["false", "true", "false", "true", "false"]
                assert world.times("SetTarget") == 3
                assert world.times("Toggle") == 1
                await asyncio.sleep(QUIET_S)
                assert world.times("GetStatus") <= 8


@pytest.mark.parametrize("outcome", ["nothing", "rubbish", "500"])
async def test_what_may_have_been_done_is_asked_back_and_not_done_again(
    broker: Broker, outcome: str
) -> None:
    async with world_of(broker, switch(), hangs=("SwitchPower",)) as world:
        act(world)

        async def set_target(call: Call) -> Answer:
            world.holds["Status"] = call.args["newTargetValue"]
            if outcome == "nothing":
                await asyncio.sleep(1)
            head = "HTTP/1.1 500 No\r\n" if outcome == "500" else "HTTP/1.1 200 OK\r\n"
            return Raw(f"{head}Content-Length: 3\r\n\r\nwhy".encode())

        world.device.actions["SetTarget"] = set_target
        await world.shows(STATUS, "false", FIRST_S)
        await world.set(STATUS, "ON", success=False)
        await world.shows(STATUS, "true", FIRST_S)
        assert world.times("SetTarget") == 1


async def test_where_the_event_comes_the_question_is_spared(broker: Broker) -> None:
    async with world_of(broker, switch()) as world:

        def tell(text: str) -> None:
            asyncio.get_running_loop().create_task(
                world.device.event("SwitchPower", {"Status": text})
            )

        act(world, tell, delay_s=0.2)
        await world.shows(STATUS, "false", FIRST_S)
        for text in ("true", "false", "true"):
            await world.set(STATUS, text)
            await world.shows(STATUS, text)
        await asyncio.sleep(QUIET_S)
        assert world.times("GetStatus") == 0
        assert world.history(STATUS) == ["false", "true", "false", "true"]


async def test_an_event_that_is_late_changes_nothing_any_more(broker: Broker) -> None:
    async with world_of(broker, switch()) as world:
        act(world)
        await world.shows(STATUS, "false", FIRST_S)
        await world.set(STATUS, "ON")
        await world.shows(STATUS, "true")
        assert world.times("GetStatus") == 1
        await world.device.event("SwitchPower", {"Status": "1"})
        await world.caller.fence()
        assert world.history(STATUS) == ["false", "true"]


async def test_a_device_that_does_it_later_is_asked_until_it_has(broker: Broker) -> None:
    async with world_of(broker, switch(), hangs=("SwitchPower",)) as world:
        act(world, delay_s=2.0)
        await world.shows(STATUS, "false", FIRST_S)
        await world.set(STATUS, "ON")
        await world.shows(STATUS, "true", 6)
        assert world.history(STATUS) == ["false", "true"]


async def test_an_event_counts_before_an_answer_that_was_asked_for_sooner(broker: Broker) -> None:
    async with world_of(broker, switch()) as world:
        act(world)
        await world.shows(STATUS, "false", FIRST_S)
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def slow(_: Call) -> Answer:
            asked.set()
            await go_on.wait()
            return {"ResultStatus": "1"}

        world.device.actions["GetStatus"] = slow
        await world.call("Toggle")
        await asyncio.wait_for(asked.wait(), 5)
        await world.device.event("SwitchPower", {"Status": "0"})
        go_on.set()
        await asyncio.sleep(0.3)
        await world.caller.fence()
        assert world.history(STATUS) == ["false"]


async def test_what_was_set_outlasts_a_restart_and_is_asked_for_again(broker: Broker) -> None:
    target, root = "SwitchPower/value/Target", switch()
    async with running(root) as device:
        base = f"asked/{root.udn}"
        chosen = flags(broker.port, root.name, mqtt__base_topic=base, upnp__poll_interval="60")
        with onlooking(broker.port) as onlooker:
            world = World(device, onlooker, Caller(onlooker, base))
            act(world)
            async with bridging(chosen):
                await world.shows(STATUS, "false", FIRST_S)
                await world.set(target, "ON")
                await world.shows(target, "true")
                await device.event("SwitchPower", {"Status": "1"})
                await world.caller.fence()
            asked = world.times("GetTarget")
            async with bridging(chosen):
                await until(lambda: world.times("GetTarget") == asked + 1, FIRST_S)
                await world.caller.fence()
                assert world.history(target) == ["true"]
            world.holds["Target"] = "0"
            async with bridging(chosen):
                await world.shows(target, "false", FIRST_S)


async def test_what_cannot_be_asked_for_gets_no_value(broker: Broker) -> None:
    async with world_of(broker, switch()) as world:
        act(world)
        await world.shows(STATUS, "false", FIRST_S)
        await world.set("SwitchPower/value/Secret", "x")
        await asyncio.sleep(QUIET_S)
        assert world.text("SwitchPower/value/Secret") is None


# A player

OFTEN_S = 1
"""It is asked as often while it plays as otherwise."""

CHOICE = "in InstanceID:A_ARG_TYPE_InstanceID"


def player(initial: str, *, evented: bool = True) -> Part:
    def told(*names: str) -> tuple[Variable, ...]:
        return tuple(Variable(name, evented=False) for name in names)

    transport = Service(
        "AVTransport",
        (
            Action("Play", (CHOICE, "in Speed:TransportPlaySpeed")),
            Action("Stop", (CHOICE,)),
            Action("Next", (CHOICE,)),
            Action(
                "SetAVTransportURI",
                (
                    CHOICE,
                    "in CurrentURI:AVTransportURI",
                    "in CurrentURIMetaData:AVTransportURIMetaData",
                ),
            ),
            Action("GetTransportInfo", (CHOICE, "out CurrentTransportState:TransportState")),
            Action(
                "GetPositionInfo",
                (
                    CHOICE,
                    "out Track:CurrentTrack",
                    "out TrackDuration:CurrentTrackDuration",
                    "out TrackMetaData:CurrentTrackMetaData",
                    "out TrackURI:CurrentTrackURI",
                    "out RelTime:RelativeTimePosition",
                ),
            ),
            Action(
                "GetMediaInfo",
                (
                    CHOICE,
                    "out NrTracks:NumberOfTracks",
                    "out MediaDuration:CurrentMediaDuration",
                    "out CurrentURI:AVTransportURI",
                    "out CurrentURIMetaData:AVTransportURIMetaData",
                ),
            ),
            Variable("LastChange"),
            *told("TransportState", "TransportPlaySpeed", "CurrentTrack", "CurrentTrackDuration"),
            *told("CurrentTrackMetaData", "CurrentTrackURI", "RelativeTimePosition"),
            *told("NumberOfTracks", "CurrentMediaDuration", "AVTransportURI"),
            *told("AVTransportURIMetaData"),
            Variable("A_ARG_TYPE_InstanceID", "ui4", evented=False),
        ),
        {"LastChange": changes(initial)} if initial else {},
        evented=evented,
    )
    udn = new_udn()
    return Part(udn, f"player-{udn}", (transport,))


def changes(inside: str) -> str:
    return last_change(f'<InstanceID val="0">{inside}</InstanceID>')


def didl(title: str, artist: str = "Ann") -> str:
    return (
        '<DIDL-Lite xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:upnp="urn:schemas-upnp-org:metadata-1-0/upnp/"><item>'
        f"<dc:title>{title}</dc:title><upnp:artist>{artist}</upnp:artist>"
        "<upnp:class>object.item.audioItem.musicTrack</upnp:class></item></DIDL-Lite>"
    )


def val(name: str, text: str) -> str:
    return f"<{name} val={escape(text, {chr(34): '&quot;'})!r}/>".replace("'", '"')


def plays(world: World, title: str = "One", number: int = 1) -> None:
    """Have the player say, when it is asked, that it plays this."""
    world.holds |= {
        "TransportState": "PLAYING",
        "CurrentTrack": str(number),
        "CurrentTrackDuration": "0:03:20",
        "CurrentTrackMetaData": didl(title),
        "CurrentTrackURI": f"http://192.0.2.9/{number}.flac",
        "RelativeTimePosition": "0:00:05",
        "NumberOfTracks": "2",
        "CurrentMediaDuration": "0:03:20",
        "AVTransportURI": "http://192.0.2.9/1.flac",
        "AVTransportURIMetaData": "",
    }


def answers(world: World) -> None:
    """Have the player answer by what it holds."""
    for name in ("GetTransportInfo", "GetPositionInfo", "GetMediaInfo"):
        (action,) = (
            one
            for one in world.device.service("AVTransport").members
            if isinstance(one, Action) and one.name == name
        )
        outs = [text.split()[1].split(":") for text in action.arguments if text.startswith("out")]

        async def tell(_: Call, outs: list[list[str]] = outs) -> Answer:
            return {argument: world.holds.get(variable, "") for argument, variable in outs}

        world.device.actions[name] = tell


async def event(world: World, *inside: str) -> None:
    await world.device.event("AVTransport", {"LastChange": changes("".join(inside))})


def media(world: World) -> dict[str, object]:
    found: dict[str, object] = json.loads(world.text("media") or "{}")
    return found


async def test_a_player_that_events_its_state_alone_has_a_title_while_it_plays(
    broker: Broker,
) -> None:
    async with world_of(
        broker, player(val("TransportState", "STOPPED")), interval_s=OFTEN_S
    ) as world:
        answers(world)
        await until(lambda: media(world).get("state") == "stopped")
        await asyncio.sleep(3)
        assert world.device.calls == []
        plays(world)
        await event(world, val("TransportState", "PLAYING"))
        expected = {
            "state": "playing",
            "title": "One",
            "artist": "Ann",
            "media_class": "object.item.audioItem.musicTrack",
            "uri": "http://192.0.2.9/1.flac",
            "duration_s": 200,
            "track": 1,
            "tracks": 2,
        }
        await until(lambda: media(world) == expected, FIRST_S)
        plays(world, "Two", 2)
        await until(lambda: media(world).get("title") == "Two")
        world.holds["TransportState"] = "STOPPED"
        await event(world, val("TransportState", "STOPPED"))
        await asyncio.sleep(2.5)
        asked = len(world.device.calls)
        await asyncio.sleep(2.5)
        assert len(world.device.calls) == asked
        assert media(world)["state"] == "stopped"


async def test_a_player_whose_first_event_is_empty_has_a_title_as_soon_as_its_state_is_known(
    broker: Broker,
) -> None:
    root = player("")
    root.services[0].initial = {"LastChange": ""}
    async with world_of(broker, root) as world:
        answers(world)
        plays(world)
        await until(lambda: media(world).get("title") == "One", FIRST_S + 5)
        asked = [call.action for call in world.device.calls]
        assert asked.index("GetTransportInfo") < asked.index("GetPositionInfo")


async def test_a_uri_that_events_tell_without_metadata_has_them_asked_for(broker: Broker) -> None:
    first = val("TransportState", "PLAYING") + val("CurrentTrackURI", "http://192.0.2.9/1.flac")
    async with world_of(broker, player(first), interval_s=OFTEN_S) as world:
        answers(world)
        plays(world)
        await until(lambda: media(world).get("title") == "One", FIRST_S + 5)
        plays(world, "Two", 2)
        await event(world, val("CurrentTrackURI", "http://192.0.2.9/2.flac"))
        await until(lambda: media(world).get("title") == "Two", FIRST_S)


@pytest.mark.parametrize("said", ["NOT_IMPLEMENTED", ""])
async def test_metadata_of_which_events_say_nothing_are_asked_for_and_stay(
    broker: Broker, said: str
) -> None:
    empty = val("CurrentTrackMetaData", said)
    async with world_of(broker, player(val("TransportState", "STOPPED") + empty)) as world:
        answers(world)
        plays(world)
        await event(world, val("TransportState", "PLAYING"), empty)
        await until(lambda: media(world).get("title") == "One", FIRST_S)
        await event(world, empty, val("CurrentTrack", "1"))
        await asyncio.sleep(0.5)
        assert media(world)["title"] == "One"


async def test_metadata_that_only_the_first_event_told_follow_the_answers(broker: Broker) -> None:
    first = val("TransportState", "PLAYING") + val("CurrentTrackMetaData", didl("Old"))
    async with world_of(broker, player(first), interval_s=OFTEN_S) as world:
        answers(world)
        plays(world, "New")
        await until(lambda: media(world).get("title") == "New")


async def test_a_player_that_tells_all_of_it_is_asked_for_its_position_alone(
    broker: Broker,
) -> None:
    def all_of_it(title: str) -> str:
        names = ("CurrentTrack", "CurrentTrackDuration", "CurrentTrackURI", "NumberOfTracks")
        more = ("CurrentMediaDuration", "AVTransportURI", "AVTransportURIMetaData")
        return "".join(
            [val("TransportState", "PLAYING"), val("CurrentTrackMetaData", didl(title))]
            + [val(name, {"CurrentTrack": "1"}.get(name, "")) for name in (*names, *more)]
        )

    async with world_of(broker, player(all_of_it("One")), interval_s=OFTEN_S) as world:
        answers(world)
        plays(world, " One ")  # as it is written elsewhere
        await until(lambda: media(world).get("title") == "One")
        await until(lambda: world.times("GetPositionInfo") >= 2)
        assert world.times("GetMediaInfo") == world.times("GetTransportInfo") == 0
        assert {one.get("title") for one in map(json.loads, world.history("media"))} == {"One"}


async def test_what_a_call_moves_is_asked_back_where_no_events_come(broker: Broker) -> None:
    async with world_of(broker, player("", evented=False)) as world:
        answers(world)
        plays(world)
        world.holds |= {"TransportState": "NO_MEDIA_PRESENT", "CurrentTrackMetaData": ""}
        await until(lambda: media(world).get("state") == "no_media", FIRST_S)

        async def play(_: Call) -> Answer:
            world.holds["TransportState"] = "TRANSITIONING"
            asyncio.get_running_loop().call_later(
                1.5, world.holds.__setitem__, "TransportState", "PLAYING"
            )
            return {}

        async def stop(_: Call) -> Answer:
            world.holds["TransportState"] = "STOPPED"
            return {}

        async def load(call: Call) -> Answer:
            world.holds |= {
                "AVTransportURI": call.args["CurrentURI"],
                "AVTransportURIMetaData": call.args["CurrentURIMetaData"],
                "TransportState": "STOPPED",
            }
            return {}

        async def following(_: Call) -> Answer:
            plays(world, "Two", 2)
            return {}

        world.device.actions |= {
            "Play": play,
            "Stop": stop,
            "SetAVTransportURI": load,
            "Next": following,
        }
        await world.call(
            "SetAVTransportURI", CurrentURI="http://192.0.2.9/3", CurrentURIMetaData=didl("Three")
        )
        await until(lambda: media(world).get("title") == "Three", SOON_S)
        await world.call("Play", Speed="1")
        await until(lambda: media(world).get("state") == "playing", FIRST_S)
        await world.call("Next")
        await until(lambda: media(world).get("title") == "Two", SOON_S)
        await world.call("Stop")
        await until(lambda: media(world).get("state") == "stopped", SOON_S)

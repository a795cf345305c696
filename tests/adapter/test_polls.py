"""Devices asked regularly, by a plan, with answers that a test's script gives."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest

from bridge.errors import Code, CommandError, Outcome
from bridge.model.device import (
    Action,
    Argument,
    Description,
    Direction,
    Key,
    Scpd,
    Service,
    StateVariable,
)
from bridge.polling.plan import Plan
from bridge.polling.poller import MAX_QUESTIONS, Poller
from bridge.tree.mirrored_device import MirroredDevice
from tests.adapter.mosquitto import PATIENCE_S, until
from tests.unit.devices import described, device, service

INTERVAL_S = 0.4
PLAN = Plan(INTERVAL_S, ("V*",))
SILENCE = CommandError(Code.TIMEOUT, "no answer", outcome=Outcome.UNKNOWN)
REFUSAL = CommandError(Code.UPNP_FAULT, "no", outcome=Outcome.REJECTED)


class NoChance(Random):
    """Asks as soon as may be."""

    def random(self) -> float:
        return 0


@dataclass
class World:
    """Devices, and what was asked of them, by URL; `answers` are by URL, else the number asked."""

    polls: Poller = field(init=False)
    asked: list[str] = field(default_factory=list)
    told: list[tuple[str, list[tuple[Key, str]]]] = field(default_factory=list)
    suspects: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Exception | Mapping[str, str]] = field(default_factory=dict)
    holds: dict[str, asyncio.Event] = field(default_factory=dict)
    under_way: int = 0
    most_under_way: int = 0

    busy: set[str] = field(default_factory=set)
    cannot_take_in: str = ""

    def subscription_states(self, _: str) -> Mapping[str, str]:
        return self.states

    def suspect(self, udn: str) -> None:
        self.suspects.append(udn)

    def apply_answers(
        self,
        service: str,
        told: list[tuple[Key, str]],
        *,
        regularly: bool = False,  # noqa: ARG002 - the sink's
    ) -> None:
        if service == self.cannot_take_in:
            raise ValueError(service)
        self.told.append((service, told))

    async def invoke(
        self, service: Service, action: str, arguments: Sequence[tuple[str, str]], timeout_s: float
    ) -> Mapping[str, str]:
        assert (tuple(arguments), timeout_s) == ((), 10)
        url = f"{service.control_url}#{action}"
        self.asked.append(url)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if url in self.holds:
                await self.holds[url].wait()
        finally:
            self.under_way -= 1
        match self.answers.get(url):
            case None:
                return {"Value": str(len(self.asked))}
            case Exception() as error:
                raise error
            case Mapping() as texts:
                return texts

    def begin(self, description: Description) -> MirroredDevice:
        mirrored = MirroredDevice.of(description, PLAN)
        self.polls.begin(mirrored, description)
        return mirrored

    async def quiet(self) -> None:
        """Wait for as long as two rounds of questions take."""
        await asyncio.sleep(2.5 * INTERVAL_S)


@asynccontextmanager
async def asking() -> AsyncIterator[World]:
    world = World()
    world.polls = polls = Poller(
        PLAN,
        world,
        world,
        busy=world.busy,
        rng=NoChance(),
    )
    running = asyncio.create_task(polls.run())
    try:
        yield world
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def content(*names: str, evented: bool = False) -> Scpd:
    """Variables with an action each that tells them."""
    members: list[Action | StateVariable] = []
    for name in names:
        members.append(Action(f"Get{name}", (Argument("Value", Direction.OUT, name),)))
        members.append(StateVariable(name, "string", evented=evented))
    return Scpd.of(tuple(members))


def one(udn: str, *names: str) -> Description:
    return described(device(udn, service(f"S-{udn}", content(*names))))


def url(udn: str, name: str) -> str:
    return f"http://192.0.2.1/S-{udn}/control#Get{name}"


async def test_a_device_is_asked_one_question_at_a_time_in_order_and_each_answer_is_told() -> None:
    async with asking() as world:
        world.begin(one("A", "V1", "V2", "Other", "V3"))
        await until(lambda: len(world.told) >= 6, PATIENCE_S)
        assert world.asked[:6] == [url("A", name) for name in ("V1", "V2", "V3")] * 2
        assert world.told[:2] == [("A/S-A", [(Key("V1"), "1")]), ("A/S-A", [(Key("V2"), "2")])]
        assert world.most_under_way == 1
        assert world.polls.questions == len(world.asked)
        assert world.suspects == []


async def test_many_devices_are_asked_side_by_side() -> None:
    async with asking() as world:
        go_on = asyncio.Event()
        for number in range(80):
            world.holds[url(f"A{number}", "V")] = go_on
            world.begin(one(f"A{number}", "V"))
        await until(lambda: world.under_way >= 64, PATIENCE_S)
        await world.quiet()
        assert (world.under_way, len(world.asked)) == (64, 64)
        go_on.set()
        await until(lambda: len({where for where, _ in world.told}) == 80, PATIENCE_S)
        assert world.most_under_way == 64


async def test_a_device_that_does_not_answer_is_suspected_and_left_alone_for_a_while() -> None:
    async with asking() as world:
        world.answers = {url("A", "V1"): SILENCE, url("A", "V2"): SILENCE}
        world.begin(one("A", "V1", "V2"))
        world.begin(one("B", "V"))
        await until(lambda: url("A", "V2") in world.asked, PATIENCE_S)
        assert world.suspects == ["A", "A"]
        of_a = [one for one in world.asked if "S-A" in one]
        assert of_a == [url("A", "V1"), url("A", "V2")]
        assert world.asked.count(url("B", "V")) >= 2
        assert {where for where, _ in world.told} == {"B/S-B"}


async def test_a_call_goes_before_further_questions_and_a_slow_device_has_a_pause() -> None:
    async with asking() as world:
        go_on = asyncio.Event()
        world.holds = {url("A", "V1"): go_on, url("B", "V1"): go_on}
        world.begin(one("A", "V1", "V2"))
        world.begin(one("B", "V1", "V2"))
        await until(lambda: world.under_way == 2, PATIENCE_S)
        world.busy.add("A")
        await asyncio.sleep(INTERVAL_S / 4)
        go_on.set()
        await until(lambda: len(world.told) == 2, PATIENCE_S)
        await world.quiet()
        assert len(world.asked) == 2
        world.busy.clear()
        await until(lambda: {url("A", "V2"), url("B", "V2")} <= set(world.asked), PATIENCE_S)


@pytest.mark.parametrize("error", [REFUSAL, ValueError("a fault of our own")])
async def test_a_question_that_goes_wrong_harms_no_other(error: Exception) -> None:
    async with asking() as world:
        world.answers = {url("A", "V1"): error}
        world.begin(one("A", "V1", "V2"))
        await until(lambda: world.asked.count(url("A", "V2")) >= 8, PATIENCE_S)
        assert world.suspects == []
        assert 1 < world.asked.count(url("A", "V1")) < 7
        assert {where for where, _ in world.told} == {"A/S-A"}


async def test_what_cannot_be_taken_in_harms_no_other() -> None:
    async with asking() as world:
        world.cannot_take_in = "A/S-A"
        world.begin(one("A", "V"))
        world.begin(one("B", "V"))
        await until(lambda: len(world.told) >= 3, PATIENCE_S)
        assert world.asked.count(url("A", "V")) >= 1


async def test_an_answer_that_events_have_overtaken_is_not_told() -> None:
    async with asking() as world:
        go_on = asyncio.Event()
        world.holds = {url("A", "Silent"): go_on}
        world.states = {"A/S-A": "silent"}
        world.begin(described(device("A", service("S-A", content("Silent", evented=True)))))
        await until(lambda: world.under_way, PATIENCE_S)
        world.states = {"A/S-A": "subscribed"}
        go_on.set()
        await until(lambda: world.told, PATIENCE_S)
        assert world.told == [("A/S-A", [])]


async def test_a_device_that_is_described_again_or_gone_is_asked_nothing_of_before() -> None:
    async with asking() as world:
        go_on = asyncio.Event()
        world.holds = {url("A", "V1"): go_on}
        world.begin(one("A", "V1"))
        await until(lambda: world.under_way, PATIENCE_S)
        world.begin(one("A", "V2"))
        await until(lambda: world.told, PATIENCE_S)
        assert world.asked.count(url("A", "V1")) == 1
        assert world.told[0][1][0][0] == Key("V2")
        world.polls.end("A")
        world.polls.end("nobody")
        count = len(world.asked)
        await world.quiet()
        assert len(world.asked) == count


@pytest.mark.parametrize("why", ["offline", "another's", "busy"])
async def test_a_device_is_left_alone_while_it_is_away_another_s_or_busy(why: str) -> None:
    async with asking() as world:
        if why == "busy":
            world.busy.add("A")
        mirrored = world.begin(one("A", "V"))
        mirrored.online = why != "offline"
        mirrored.owned = why != "another's"
        world.begin(one("B", "V"))
        await until(lambda: len(world.told) >= 2, PATIENCE_S)
        assert url("A", "V") not in world.asked
        if why == "busy":
            world.busy.clear()
            await until(lambda: url("A", "V") in world.asked, PATIENCE_S)


async def test_what_came_of_a_question_after_a_device_left_is_not_told() -> None:
    async with asking() as world:
        go_on = asyncio.Event()
        world.holds = {url("A", "V"): go_on}
        mirrored = world.begin(one("A", "V"))
        await until(lambda: world.under_way, PATIENCE_S)
        mirrored.online = False
        go_on.set()
        await until(lambda: not world.under_way, PATIENCE_S)
        await asyncio.sleep(0.05)
        assert world.told == []


async def test_a_service_is_asked_for_what_it_events_only_while_it_is_deaf() -> None:
    async with asking() as world:
        evented = described(device("A", service("S-A", content("Level", evented=True))))
        world.states = {"A/S-A": "pending"}
        world.begin(evented)
        await world.quiet()
        for state in ("subscribed", "silent", "refused", "lost"):
            assert bool(world.asked) == (state in ("refused", "lost"))
            world.states = {"A/S-A": state}
            if state != "subscribed":
                world.asked.clear()
                await until(lambda: world.asked, PATIENCE_S)
            else:
                await world.quiet()
        world.states = {"A/S-A": "subscribed"}
        await world.quiet()
        world.asked.clear()
        await world.quiet()
        assert world.asked == []


async def test_hurry_asks_a_service_within_a_second_or_so() -> None:
    async with asking() as world:
        world.polls._plan = Plan(3600, ("V",))
        mirrored = world.begin(one("A", "V"))
        await until(lambda: world.told, PATIENCE_S)
        await world.quiet()
        assert len(world.asked) == 1
        world.polls.hurry(mirrored, "A/nowhere")
        world.polls.hurry(mirrored, "A/S-A")
        began_s = asyncio.get_running_loop().time()
        await until(lambda: len(world.told) == 2, PATIENCE_S)
        assert 0.9 < asyncio.get_running_loop().time() - began_s < 3


async def test_of_a_device_with_countless_questions_those_count_that_no_event_answers() -> None:
    async with asking() as world:
        evented = service("Evented", content(*(f"E{n}" for n in range(200)), evented=True))
        wanted = service("Wanted", content(*(f"V{n}" for n in range(20))))
        world.begin(described(device("A", evented, wanted)))
        world.states = {}
        await until(lambda: len(world.asked) >= MAX_QUESTIONS + 20, PATIENCE_S)
        first = [one.rpartition("/control#Get")[2] for one in world.asked[:MAX_QUESTIONS]]
        assert first[:20] == [f"V{n}" for n in range(20)]
        assert set(first) == {one.rpartition("/control#Get")[2] for one in world.asked}


async def test_a_device_without_questions_costs_nothing() -> None:
    async with asking() as world:
        world.begin(described(device("A", service("S", content("Other")))))
        assert world.polls._polled == {}
        await world.quiet()
        assert world.asked == []

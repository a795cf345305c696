"""All that may befall the bridge: each kind of step, and how often it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from tests.simulation import truth
from tests.simulation.broker import Passed
from tests.simulation.devices import SEEN_VARIANTS, VARIANTS, Device
from tests.simulation.network import Weather
from tests.simulation.plan import Step
from tests.simulation.world import World

Do = Callable[[World, Step], None]
_HOSTS = tuple(f"10.0.0.{number}" for number in range(10, 18))


@dataclass(frozen=True, slots=True)
class _Kind:
    weight: int
    do: Do


KINDS: dict[str, _Kind] = {}


def _step(weight: int) -> Callable[[Do], Do]:
    def register(do: Do) -> Do:
        KINDS[do.__name__] = _Kind(weight, do)
        return do

    return register


def weights() -> dict[str, int]:
    """How often each kind of step is drawn."""
    return {name: kind.weight for name, kind in KINDS.items()}


def carry_out(world: World, step: Step) -> None:
    """Do what a step says, as far as it can be done now."""
    KINDS[step.kind].do(world, step)


def _device(world: World, step: Step) -> Device:
    honest = [one for one in world.network.devices if not one.is_lie]
    return honest[step.which % len(honest)]


def _stop(device: Device) -> None:
    device.is_up = False
    device.subscribers.clear()


# Devices


@_step(8)
def join(world: World, step: Step) -> None:
    device = _device(world, step)
    if not device.is_up:
        if device.life:
            device.boot_id += 1
        device.start()
        world.network.announce(device, "ssdp:alive")


@_step(3)
def leave(world: World, step: Step) -> None:
    device = _device(world, step)
    if device.is_up:
        world.network.announce(device, "ssdp:byebye")
        _stop(device)


@_step(3)
def die(world: World, step: Step) -> None:
    _stop(_device(world, step))


@_step(5)
def reboot(world: World, step: Step) -> None:
    """Be back after up to 20 s, perhaps with another description, perhaps after a byebye."""
    device = _device(world, step)
    if not device.is_up:
        return
    if step.how & 1:
        world.network.announce(device, "ssdp:byebye")
    _stop(device)

    def back() -> None:
        if not device.is_up:
            device.boot_id += 1
            if step.how & 2:
                # Without CONFIGID, another SCPD below the same description shows by nothing.
                device.variant = step.how // 4 % (SEEN_VARIANTS if device.is_bare else VARIANTS)
                device.config_id += 1
            device.start()
            world.network.announce(device, "ssdp:alive")

    world.later(step.much * 20, back)


@_step(4)
def move(world: World, step: Step) -> None:
    """Stand at another address or port, with or without a restart."""
    device = _device(world, step)
    taken = {one.host for one in world.network.devices}
    free = [host for host in _HOSTS if host not in taken]
    if step.how & 1:
        device.port = 8000 + step.how % 7
    else:
        device.host = free[step.how % len(free)]
    if device.is_up:
        device.boot_id += 1
        if step.how & 2:
            _stop(device)
            device.start()
        world.network.announce(device, "ssdp:alive")


@_step(3)
def describe(world: World, step: Step) -> None:
    """Have another description from one moment to the next, and another CONFIGID.

    Perhaps again within 6 s. Not while it is read before the first announcement is heard: nothing
    would tell that it was another before.
    """
    device = _device(world, step)

    def change(variant: int) -> None:
        if not device.is_bare and not world.is_read_blindly(device):
            device.variant = variant
            device.config_id += 1
            for one in tuple(device.subscribers.values()):
                if one.path not in device.paths():
                    del device.subscribers[one.sid]
            if device.is_up:
                world.network.announce(device, "ssdp:alive")

    change(step.how % VARIANTS)
    if step.how & 8:
        world.later(step.much * 6, lambda: change(step.how // 16 % VARIANTS))


@_step(14)
def change(world: World, step: Step) -> None:
    device = _device(world, step)
    if device.is_up:
        path = device.paths()[step.how % len(device.paths())]
        names = list(device.state[path])
        name = names[step.how // 4 % len(names)]
        texts = {"Note": f"text {step.how}", "Mute": str(step.how & 1)}
        device.change(path, name, texts.get(name, str(int(step.much * 100))), world.now)


@_step(4)
def burst(world: World, step: Step) -> None:
    """Change one value after the other, faster than they are published."""
    device = _device(world, step)
    for number in range(3 + int(step.much * 30)):
        if device.is_up:
            device.change("/note", "Level", str(number % 101), world.now)
            device.change("/note", "Note", f"burst {step.how} {number}", world.now)


@_step(3)
def lose_subscribers(world: World, step: Step) -> None:
    _device(world, step).subscribers.clear()


@_step(2)
def refuse_subscribers(world: World, step: Step) -> None:
    device = _device(world, step)
    device.refuses = True
    world.later(step.much * 100, lambda: setattr(device, "refuses", False))


# Those who lie


@_step(2)
def false_byebye(world: World, step: Step) -> None:
    world.network.announce(_device(world, step), "ssdp:byebye")


@_step(2)
def impostor(world: World, step: Step) -> None:
    """Have another host claim a device's UDN, for a while."""
    victim = _device(world, step)
    liar = Device(victim.udn, f"10.0.0.{60 + step.how % 8}", world.network.send)
    liar.is_lie = True
    liar.variant = step.how % VARIANTS
    liar.past, liar.done = victim.past, victim.done
    victim.forgotten = -1
    liar.start()
    world.network.devices.append(liar)
    world.network.announce(liar, "ssdp:alive")

    def unmasked() -> None:
        liar.is_up = False

    world.later(step.much * 120, unmasked)


# The network


def _weather(name: str, most: float) -> Do:
    def do(world: World, step: Step) -> None:
        setattr(world.network.weather, name, step.much * most)

    do.__name__ = name
    return do


for _name, _most in {
    "datagram_loss": 1.0,
    "datagram_repeat": 1.0,
    "event_loss": 0.5,
    "event_disorder": 0.7,
    "request_loss": 0.4,
    "answer_loss": 0.4,
    "slow_s": 10.0,
}.items():
    _step(2)(_weather(_name, _most))


@_step(7)
def calm(world: World, _: Step) -> None:
    cut = world.network.weather.is_cut
    world.network.weather = Weather(is_cut=cut)


@_step(3)
def cut_network(world: World, step: Step) -> None:
    world.network.weather.is_cut = True
    world.later(step.much**2 * 200, lambda: setattr(world.network.weather, "is_cut", False))


@_step(2)
def new_interface(world: World, step: Step) -> None:
    """Take the interface away, and bring it back as another."""
    network = world.network
    network.weather.is_cut = True
    if network.discovery is not None:
        network.discovery.follow([])

    def back() -> None:
        network.weather.is_cut = False
        network.interface_index += 1
        if network.discovery is not None:
            network.discovery.follow([network.interface])
            network.discovery.search()

    world.later(step.much * 30, back)


# The broker


@_step(3)
def restart_broker(world: World, step: Step) -> None:
    world.restart_broker(dict(world.broker.held), step.much * 30)


@_step(3)
def empty_broker(world: World, step: Step) -> None:
    world.restart_broker(dict(truth.FOREIGN), step.much * 30)


@_step(2)
def older_broker(world: World, step: Step) -> None:
    """Restart it with what it last saved."""
    world.restart_broker(dict(world.saved), step.much * 30)


@_step(3)
def save(world: World, _: Step) -> None:
    """Have the broker write down what it holds."""
    world.saved = dict(world.broker.held)


@_step(2)
def unreachable_broker(world: World, step: Step) -> None:
    world.broker.is_cut = True
    for client in tuple(world.broker.clients):
        client.break_off()
    world.later(step.much * 60, lambda: setattr(world.broker, "is_cut", False))


@_step(4)
def cut_connection(world: World, _: Step) -> None:
    for client in tuple(world.broker.clients):
        client.break_off()


@_step(3)
def half_open(world: World, step: Step) -> None:
    """Lose the connection without a word: each end notices at its own time."""
    for client in tuple(world.broker.clients):
        client.go_deaf()
        world.later(step.much * 40, client.notice)
        world.later(step.how % 90, client.forget)


# The bridge


@_step(4)
def crash(world: World, step: Step) -> None:
    world.crash()
    world.later(step.much * 60 if step.how & 1 else 0, world.begin)


@_step(3)
def stop(world: World, step: Step) -> None:
    world.stop()
    world.later(5.5 + step.much * 60, world.begin)


@_step(2)
def step_clock(world: World, step: Step) -> None:
    world.loop.day_offset += timedelta(hours=(step.much - 0.5) * 100)


# Those who send commands


def _set_note(world: World, device: Device, step: Step) -> None:
    udn = device.udns[step.how % len(device.udns)]
    note = f"c{len(world.callers.commands)}"
    body = {"service": "Notebook", "action": "SetNote", "args": {"NewNote": note}, "timeout": 5}
    world.callers.send(f"upnp/{udn}/call", body, note=note)


@_step(12)
def call(world: World, step: Step) -> None:
    _set_note(world, _device(world, step), step)


@_step(2)
def flood(world: World, step: Step) -> None:
    """Send more calls at once than may wait."""
    for _ in range(int(step.much * 50)):
        _set_note(world, _device(world, step), step)


@_step(4)
def set_value(world: World, step: Step) -> None:
    if world.is_5:
        note = f"c{len(world.callers.commands)}"
        topic = f"upnp/{_device(world, step).udn}/Notebook/value/Note/set"
        world.callers.send(topic, None, note=note, raw=note)


@_step(4)
def get_value(world: World, step: Step) -> None:
    if world.is_5:
        name = ("Note", "Told", "Level")[step.how % 3]
        world.callers.send(f"upnp/{_device(world, step).udn}/Notebook/value/{name}/get", None)


@_step(2)
def retained_call(world: World, step: Step) -> None:
    note = f"c{len(world.callers.commands)}"
    body: dict[str, object] = {"action": "SetNote", "args": {"NewNote": note}}
    world.callers.send(f"upnp/{_device(world, step).udn}/call", body, note=note, retain=True)


@_step(5)
def verb(world: World, step: Step) -> None:
    device = _device(world, step)
    verbs: tuple[tuple[str, dict[str, object]], ...] = (
        ("announce", {}),
        ("announce", {"ids": [device.udn]}),
        ("search", {}),
        ("refresh", {"id": device.udn}),
        ("add", {"location": device.location}),
        ("health", {}),
        ("nonsense", {}),
    )
    name, body = verbs[step.how % len(verbs)]
    world.callers.send(f"upnp/bridge/main/request/{name}", body)


@_step(5)
def forget(world: World, step: Step) -> None:
    """Have a device forgotten, one that is away if there is one."""
    away = [one for one in world.network.devices if one.life and not (one.is_up or one.is_lie)]
    device = away[step.which % len(away)] if away else _device(world, step)
    world.callers.send("upnp/bridge/main/request/forget", {"id": device.udn})


@_step(2)
def hub_born(world: World, _: Step) -> None:
    if world.broker.is_up:
        world.broker.publish(Passed("homeassistant/status", b"online", retain=False))

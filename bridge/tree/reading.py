"""In which pieces what the broker holds is read, so that nothing is held up for long."""

from collections.abc import Iterator, Mapping, Sequence

from bridge.tree.device_tree import Shape

_HUB_TOPICS_AT_ONCE = 50
_DEVICES_AT_ONCE = 2
"""Of devices that are read from the broker: some have hundreds of topics each."""


def pieces(shape: Shape, held: Mapping[str, bytes]) -> Iterator[tuple[str, ...]]:
    """Yield the topic filters of what the broker holds below the base.

    First what tells of devices, then, by what is `held` of that, a few devices at a time.
    """
    yield f"{shape.base}/+", f"{shape.base}/bridge/#"
    yield from below(shape, _named(shape, held))


def hub_pieces(shape: Shape, held: Mapping[str, bytes]) -> Iterator[tuple[str, ...]]:
    """Yield likewise what hubs may have been told, when all else is `held`."""
    yield from outside(shape, shape.own_hub_topics(), _named(shape, held))


def below(shape: Shape, devices: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the filters of all that stands below devices, by their ids."""
    for few in _few(devices, _DEVICES_AT_ONCE):
        yield tuple(f"{shape.base}/{device}/#" for device in few)


def outside(shape: Shape, own: Sequence[str], devices: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the topics of hubs: a bridge's `own`, and those of devices, by their ids."""
    told = [*own, *(topic for device in devices for topic in shape.hub_topics(device))]
    yield from _few(told, _HUB_TOPICS_AT_ONCE)


def _named(shape: Shape, held: Mapping[str, bytes]) -> list[str]:
    """Return the ids of all devices that the uppermost topics speak of."""
    own, levels = f"{shape.base}/bridge/", shape.base.count("/") + 1
    top = {t: p for t, p in held.items() if t.count("/") == levels or t.startswith(own)}
    return sorted(shape.retained_tree(top).named)


def _few(everything: Sequence[str], count: int) -> Iterator[tuple[str, ...]]:
    for at in range(0, len(everything), count):
        yield tuple(everything[at : at + count])

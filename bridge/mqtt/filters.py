"""Which topic filters a broker bears. Some end the connection over one instead of refusing it."""

from collections.abc import Callable, Collection, Iterator, Sequence

AT_ONCE = 8
"""The most filters in one SUBSCRIBE: AWS IoT Core ends the connection over more."""

_STRIKES = 2
_BAN_S = 3600.0
_MOST = 1_000


class Filters:
    """What was asked for when a connection ended, over all sessions with one broker.

    That is asked for alone the next time. What ends a connection alone, twice, is not asked for
    for an hour.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._strikes: dict[str, int] = {}
        self._banned: dict[str, float] = {}
        self._banned_levels = 0

    @property
    def has_suspects(self) -> bool:
        """Whether something may have ended a connection that was not tried alone, twice."""
        return bool(self._strikes)

    def is_banned(self, topic_filter: str) -> bool:
        """Return whether a filter is not to be asked for now."""
        until_s = self._banned.get(topic_filter)
        if until_s is None:
            return False
        if until_s > self._clock():
            return True
        del self._banned[topic_filter]
        self._strikes[topic_filter] = _STRIKES - 1
        return False

    def is_suspect(self, filters: Collection[str]) -> bool:
        """Return whether one of these may have ended a connection."""
        return any(one in self._strikes for one in filters)

    def groups(self, filters: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Yield these filters as they are to be asked for together; suspects alone, and last."""
        good = [one for one in filters if one not in self._strikes]
        for at in range(0, len(good), AT_ONCE):
            yield tuple(good[at : at + AT_ONCE])
        for one in filters:
            if one in self._strikes:
                yield (one,)

    def bore(self, filters: Collection[str]) -> None:
        """Note that a broker has answered."""
        for one in filters:
            self._strikes.pop(one, None)

    def lost(self, groups: Sequence[Collection[str]]) -> None:
        """Note that the connection ended while these were not answered."""
        filters = [one for group in groups for one in group]
        is_alone = len(filters) == 1
        for one in filters:
            if one not in self._strikes and len(self._strikes) >= _MOST:
                continue
            strikes = self._strikes[one] = self._strikes.get(one, 0) + is_alone
            # Of one limit of levels, one filter is proof enough for those that are as deep.
            enough = 1 if one.count("/") >= self._banned_levels > 0 else _STRIKES
            if strikes >= enough and len(self._banned) < _MOST:
                self._banned[one] = self._clock() + _BAN_S
                self._banned_levels = one.count("/")
                del self._strikes[one]

"""A host's addresses, also while no name server answers: those of last time, then."""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

Address = tuple[socket.AddressFamily, Any]

_MOST_ASKING = 4
_PATIENCE_S = 1.0
"""How long a name server is waited for where the addresses of last time are known."""
_MOST_HOSTS = 64


class Names:
    """Asks for addresses in threads that the end of the program does not wait for.

    A resolver may hang for half a minute. At most four do at a time.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], list[Address]] = {}
        self._asking = 0

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Return the addresses of a host; raises OSError."""
        known = self._known.get((host, port))
        try:
            async with asyncio.timeout(_PATIENCE_S if known else None):
                found = await self._ask(host, port)
        except (OSError, TimeoutError):
            if not known:
                raise
            return known
        if len(self._known) < _MOST_HOSTS:
            self._known[host, port] = found
        return found

    async def _ask(self, host: str, port: int) -> list[Address]:
        if self._asking >= _MOST_ASKING:
            raise OSError("the name server does not answer")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Address]] = loop.create_future()

        def settle(found: list[Address] | OSError) -> None:
            self._asking -= 1
            if answer.done():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def look_up() -> None:
            try:
                told = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                found: list[Address] | OSError = [(one[0], one[4]) for one in told]
            except OSError as error:
                found = error
            except UnicodeError as error:
                found = OSError(f"no name of a host: {error}")
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, found)

        self._asking += 1
        threading.Thread(target=look_up, name="mqtt.name", daemon=True).start()
        return await answer

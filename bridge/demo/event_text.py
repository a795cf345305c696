"""What AVTransport and RenderingControl share: LastChange, and the InstanceID."""

from collections.abc import Mapping
from typing import Any, ClassVar
from xml.sax.saxutils import quoteattr

from async_upnp_client.client import UpnpRequester

from bridge.demo.device_server import Fault, Service

INSTANCE = {"InstanceID": "A_ARG_TYPE_InstanceID"}


class AvService(Service):
    """A service that tells its changes by LastChange, of instance 0 only."""

    METADATA_NAMESPACE: ClassVar[str]
    INVALID_INSTANCE: ClassVar[int]

    def __init__(self, requester: UpnpRequester) -> None:
        super().__init__(requester)
        self._announced: Mapping[tuple[str, str], str] = {}

    def instance(self) -> Mapping[tuple[str, str], str]:
        """Read the values of LastChange by variable and channel, "" where there is none."""
        raise NotImplementedError

    def announce(self) -> None:
        """Send what has changed since the last time as one LastChange."""
        now = self.instance()
        if changes := {k: value for k, value in now.items() if value != self._announced.get(k)}:
            self._announced = now
            self.set(LastChange=self._last_change(changes))

    def initial(self) -> dict[str, str]:
        """Make the first event: LastChange with every value."""
        return {"LastChange": self._last_change(self.instance())}

    async def async_handle_action(self, action_name: str, **kwargs: Any) -> Any:  # noqa: ANN401 -- the library's signature
        """Carry out an action, on instance 0."""
        if kwargs.get("InstanceID", 0) != 0:
            raise Fault(self.INVALID_INSTANCE, "Invalid InstanceID")
        return await super().async_handle_action(action_name, **kwargs)

    def _last_change(self, values: Mapping[tuple[str, str], str]) -> str:
        elements = (
            f"<{name}{f' channel={quoteattr(channel)}' if channel else ''} val={quoteattr(value)}/>"
            for (name, channel), value in values.items()
        )
        return (
            f'<Event xmlns="{self.METADATA_NAMESPACE}"><InstanceID val="0">'
            + "".join(elements)
            + "</InstanceID></Event>"
        )

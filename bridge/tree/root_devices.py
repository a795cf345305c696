"""The root devices that are known, and which of them has which device."""

from dataclasses import replace

from bridge.model import topics
from bridge.model.device import Description, Device, Service
from bridge.tree.mirrored_device import MirroredDevice


class RootDevices:
    """Root devices by their own ids, and by those of all devices that hang from them."""

    def __init__(self) -> None:
        self.mirrored_devices: dict[str, MirroredDevice] = {}
        self._holders: dict[str, MirroredDevice] = {}
        self._devices: dict[str, tuple[MirroredDevice, Device | None]] = {}

    def holder(self, device: str) -> MirroredDevice | None:
        """Return the root device that a device, root or embedded, is of, by its id."""
        return self._holders.get(device)

    def holders(self, mirrored: MirroredDevice) -> tuple[MirroredDevice, ...]:
        """Return the other roots that have devices of this one, in any spelling of their UDNs."""
        found = {}
        for device in mirrored.devices:
            other, _ = self._devices.get(topics.udn_key(topics.decode_level(device)), (None, None))
            for one in (other, self._holders.get(device)):
                if one is not None and one.id != mirrored.id:
                    found[one.id] = one
        return tuple(found.values())

    def find(self, udn: str) -> tuple[MirroredDevice, Device | None] | None:
        """Return a device by any spelling of its UDN, root or embedded, with its root device.

        The device itself is None while it has not been described.
        """
        keys = topics.udn_keys(udn)
        return next((self._devices[key] for key in keys if key in self._devices), None)

    def id_of(self, named: str) -> str | None:
        """Return the id of a device by any spelling of that or of its UDN; None for no device."""
        found = self.find(topics.decode_level(named))
        if found is None:
            return None
        if found[1] is not None:
            return topics.device_id(found[1].udn)
        keys = topics.udn_keys(topics.decode_level(named))
        known = {topics.udn_key(topics.decode_level(one)): one for one in found[0].devices}
        return next((known[key] for key in keys if key in known), None)

    def find_bare(self, udn: str) -> tuple[MirroredDevice, Device | None] | None:
        """Return a device by its UDN as devices have it, without `uuid:`, in any case."""
        return self._devices.get(topics.udn_key(udn))

    def enter(self, mirrored: MirroredDevice) -> None:
        """Take in a root device with all its devices."""
        self.mirrored_devices[mirrored.id] = mirrored
        for device in mirrored.devices:
            self._holders[device] = mirrored
            self._devices[topics.udn_key(topics.decode_level(device))] = mirrored, None
        if mirrored.description is not None:
            for one in mirrored.description.device.walk():
                self._devices[topics.udn_key(one.udn)] = mirrored, one

    def drop(self, mirrored: MirroredDevice) -> None:
        """Forget a root device, with those devices that are still its own."""
        del self.mirrored_devices[mirrored.id]
        for device in mirrored.devices:
            if self._holders.get(device) is mirrored:
                del self._holders[device]
                del self._devices[topics.udn_key(topics.decode_level(device))]

    def without_claimed(self, description: Description) -> Description:
        """Leave out embedded devices that another root has, one that is online."""
        root = topics.device_id(description.udn)

        def pruned(device: Device) -> Device:
            children: list[Service | Device] = []
            problems = list(device.problems)
            for child in device.children:
                if isinstance(child, Service):
                    children.append(child)
                    continue
                holder = self.holder(topics.device_id(child.udn))
                if holder is None or holder.id == root or not holder.online:
                    children.append(pruned(child))
                else:
                    problems.append(f"embedded device {child.udn} is one of {holder.id}: left out")
            if tuple(children) == device.children:
                return device
            return replace(device, children=tuple(children), problems=tuple(problems))

        device = pruned(description.device)
        return description if device is description.device else replace(description, device=device)

    def is_ours(self, mirrored: MirroredDevice) -> bool:
        """Return whether a root device, as it is described now, is this bridge's to publish."""
        return mirrored.owned and self.mirrored_devices.get(mirrored.id) is mirrored

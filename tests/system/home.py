"""Where broker and bridge stand when the network is to fail: a namespace one wire from the lab."""

from typing import Self

from tests.system.devices import NET
from tests.system.lab import Lab
from tests.system.link import Link, open_tap
from tests.system.space import Space, add, ip, set_up

_FAR = "line0"


class Home(Space):
    """A namespace whose one interface is the near end of `link`.

    The lab's own space, from which devices are asked for the truth, is not behind it.
    """

    link: Link

    def __init__(self, lab: Lab) -> None:
        super().__init__(f"{lab.space}-home")
        self.lab = lab

    def __enter__(self) -> Self:
        add(self.space)
        self.plug()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end()
        self.link.close()

    def plug(self, interface: str = "eth0", host: int = 2) -> None:
        """Make the interface, and the wire from it to the lab."""
        near = self.call(open_tap, interface)
        far = self.lab.call(open_tap, _FAR)
        self.link = Link(near, far, seed=1)
        ip("-n", self.lab.space, "link", "set", _FAR, "master", "br0", "up")
        ip("-n", self.space, "link", "set", interface, "address", f"02:00:0a:4d:01:{host:02x}")
        set_up(self.space, interface, f"{NET}.{host}")

    def unplug(self) -> None:
        """Take interface and wire away."""
        self.link.close()

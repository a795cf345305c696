"""Real UPnP devices to test with: programs that others wrote, each in its own network namespace.

A bridge joins the namespaces to the lab's, where the control point stands at 10.77.0.1. None of
them has a way to the machine's own interfaces. Needs root and the packages of `packages()`, which
`python -m tests.system.lab` prints.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import wave
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from tests.system.devices import DEVICES, NET, Device
from tests.system.search import await_answers
from tests.system.space import Space, add, ip, remove, set_up

CONTROL_POINT = f"{NET}.1"
_TMP = Path(tempfile.gettempdir())


def packages() -> tuple[str, ...]:
    """Name the Debian packages that the lab needs."""
    return tuple(sorted({"iproute2", *(name for d in DEVICES.values() for name in d.packages)}))


def missing() -> str | None:
    """Tell why the lab cannot run here, or None if it can."""
    if os.geteuid() != 0:
        return "the lab needs root, for network namespaces"
    programs = ("ip", *(name for device in DEVICES.values() for name in device.programs))
    absent = [name for name in programs if not shutil.which(name, path=_PATH)]
    if absent:
        return f"the lab needs {', '.join(absent)}"
    probe = f"lab-p{os.getpid()}-probe"
    try:
        try:
            add(probe)
        finally:
            remove([probe])
    except subprocess.CalledProcessError as error:
        return f"no network namespaces here: {error.stderr.strip()}"
    return None


class Lab(Space):
    """The network: `start` devices, and run programs and functions where the control point stands.

    Namespaces are named after this process, so that two runs do not meet; what a run that crashed
    has left is removed at the next.
    """

    fixed = (CONTROL_POINT,)

    def __init__(self) -> None:
        super().__init__(f"lab-p{os.getpid()}")
        self.devices = dict(DEVICES)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for space in (left := _left_behind()):
            for folder in _TMP.glob(f"upnp-{space}-*"):
                shutil.rmtree(folder, ignore_errors=True)
        remove(left)
        try:
            add(self.space)
            # A fixed address: a bridge otherwise takes a new one from a port that joins.
            bridge = (
                "br0",
                "address",
                "02:00:0a:4d:00:01",
                "type",
                "bridge",
                "mcast_snooping",
                "0",
            )
            ip("-n", self.space, "link", "add", *bridge)
            set_up(self.space, "br0", CONTROL_POINT)
            self._folder = Path(tempfile.mkdtemp(prefix=f"upnp-{self.space}-"))
        except BaseException:
            remove([self.space])
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def addresses(self) -> Mapping[str, str]:
        """The address of every device, running or not."""
        return {name: device.address for name, device in self.devices.items()}

    def start(self, *names: str) -> None:
        """Start these devices and wait until they answer with all their types.

        Raises TimeoutError, with the ends of their logs, if some do not.
        """
        try:
            for name in names:
                self._start(self.devices[name])
            silent = self.call(await_answers, [self.devices[name] for name in names])
        except BaseException:
            self.stop(*names, number=signal.SIGKILL)
            raise
        if silent:
            logs = (f"{name}: {self.log(name)[-1500:]}" for name in silent)
            raise TimeoutError("\n".join(("no answer from", *logs)))

    def stop(self, *names: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End these devices: by SIGTERM in their own way, by SIGKILL without a word."""
        remove([self._space(name) for name in names], number)
        for name in names:
            if process := self._running.pop(name, None):
                process.wait()
                # Interfaces outlive their namespace for a moment; the next start needs the name.
                link = ("ip", "-n", self.space, "link", "del", f"port{self.devices[name].host}")
                subprocess.run(link, check=False, capture_output=True)

    def move(self, name: str, host: int) -> None:
        """Have a device that does not run start at another address the next time."""
        self.devices[name] = replace(self.devices[name], host=host)

    def unplug(self, name: str) -> None:
        """Take a device off the network while it runs."""
        ip("-n", self.space, "link", "set", f"port{self.devices[name].host}", "down")

    def plug(self, name: str) -> None:
        """Put it back."""
        ip("-n", self.space, "link", "set", f"port{self.devices[name].host}", "up")

    def log(self, name: str) -> str:
        """Read what a device has written since its start."""
        return (self._folder / name / "log").read_text(errors="replace")

    def close(self) -> None:
        """End all that runs in the lab, and remove it."""
        self.stop(*self._running)
        self.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _space(self, name: str) -> str:
        return f"{self.space}-{name}"

    def _start(self, device: Device) -> None:
        space, port = self._space(device.name), f"port{device.host}"
        add(space)
        # The same at each start: neighbours would go on sending to the one that was before.
        address = f"02:00:0a:4d:02:{device.host:02x}"
        pair = ("eth0", "address", address, "type", "veth", "peer", port, "netns", self.space)
        ip("-n", space, "link", "add", *pair)
        ip("-n", self.space, "link", "set", port, "master", "br0", "up")
        set_up(space, "eth0", device.address)
        # Some programs find their address by the default route; it leads no further than the lab.
        ip("-n", space, "route", "add", "default", "via", CONTROL_POINT)

        folder = self._folder / device.name
        shutil.rmtree(folder, ignore_errors=True)
        for path, text in device.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        _record(folder / "media")
        hosts = f"127.0.0.1 localhost\n{device.address} {socket.gethostname()}\n"
        (folder / "hosts").write_text(hosts)
        # Mounts of `ip netns exec` are its own: the device sees its folder as /tmp.
        mounts = "mount --bind hosts /etc/hosts; mount --bind . /tmp; cd /tmp; "
        with (folder / "log").open("wb") as log:
            self._running[device.name] = subprocess.Popen(
                ["ip", "netns", "exec", space, "sh", "-c", mounts + device.command],
                cwd=folder,
                env={"HOME": "/tmp", "LANG": "C.UTF-8", "PATH": _PATH, "XDG_RUNTIME_DIR": "/tmp"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _left_behind() -> list[str]:
    """Find the namespaces of runs that are no more, or whose process id this one has now."""
    folder = Path("/run/netns")
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return [
        name
        for name in names
        if (match := re.match(r"lab-p(\d+)\b", name))
        and (int(match[1]) == os.getpid() or not Path("/proc", match[1]).exists())
    ]


def _record(folder: Path) -> None:
    """Make two sound files for the media servers."""
    folder.mkdir(parents=True)
    for name in ("tone.wav", "Tone & Töne.wav"):
        with wave.open(str(folder / name), "wb") as sound:
            sound.setparams((1, 1, 8000, 0, "NONE", "not compressed"))
            sound.writeframes((bytes([96]) * 10 + bytes([160]) * 10) * 12000)  # 30 s


if __name__ == "__main__":
    print(*packages())  # noqa: T201 -- for scripts/test, which installs them

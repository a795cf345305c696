"""Programs, a docker engine and a base image on this machine, for scripts/container."""  # noqa: INP001

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ENV = os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
_START_S = 30.0
_STOP_S = 20.0
_TICK_S = 0.05
_LAST_LINES = 25
_BUILDX_NEEDED = 23
"""A client of this version or newer builds with BuildKit only through this plugin."""

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_MMDEBSTRAP = (
    *("mmdebstrap", "--quiet", "--variant=minbase", "--format=tar"),
    "--include=ca-certificates,python3,python3-pip",
    "--dpkgopt=force-unsafe-io",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")),
    # What this machine trusts: it may reach a package index through a proxy of its own.
    *((f"--customize-hook=upload {_CERTIFICATES} {_CERTIFICATES}",) * _CERTIFICATES.exists()),
    "bookworm",
)


class Wrong(Exception):
    """Something is wrong with the image."""


class Unable(Exception):
    """The image cannot be built and tried here."""


def which(program: str) -> str | None:
    """Return the path of a program, also of one that is for administrators."""
    return shutil.which(program, path=_ENV["PATH"])


def run(
    *words: str, limit_s: float = 60, env: Mapping[str, str] | None = None, joined: bool = False
) -> str:
    """Return what a command writes to standard output; `joined`, also to standard error.

    Raises Wrong with its last lines if it fails.
    """
    try:
        done = subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if joined else subprocess.PIPE,
            text=True,
            timeout=limit_s,
            env=_ENV | dict(env or {}),
        )
    except subprocess.TimeoutExpired as error:
        raise Wrong(f"{words[0]} takes longer than {limit_s:.0f} s: {words[1:]}") from error
    if done.returncode:
        said = "\n".join((done.stdout + (done.stderr or "")).splitlines()[-_LAST_LINES:])
        raise Wrong(f"{words[0]} ended with status {done.returncode}: {words[1:]}\n{said}")
    return done.stdout


@contextmanager
def running(*command: str, log: Path) -> Iterator[None]:
    """Run a program while the context lasts, and no longer than this process does."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            ("setpriv", "--pdeathsig=TERM", *command),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=_ENV,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def await_true(condition: Callable[[], bool], limit_s: float, reason: str) -> None:
    """Wait until something holds; raise Wrong with the reason if it does not in time."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise Wrong(reason)
        time.sleep(_TICK_S)


@dataclass(frozen=True, slots=True)
class Docker:
    """A client that knows its engine: a call is a command of `docker`."""

    client: tuple[str, ...]

    def __call__(self, *words: str, limit_s: float = 60, joined: bool = False) -> str:
        """Return what a command writes. Raises Wrong."""
        return run(*self.client, *words, limit_s=limit_s, joined=joined)

    def can(self, *words: str, limit_s: float = 60) -> bool:
        """Tell whether a command succeeds."""
        with suppress(Wrong, OSError):
            self(*words, limit_s=limit_s)
            return True
        return False

    def inspect(self, name: str) -> Any:  # noqa: ANN401 - JSON
        """Return what the engine knows of a container or an image. Raises Wrong."""
        return json.loads(self("inspect", name))[0]

    def describe(self) -> str:
        """Return version and storage of the engine, in a few words. Raises Wrong."""
        return self("info", "--format", "docker {{.ServerVersion}}, {{.Driver}}").strip()

    def build(self, *words: str, limit_s: float) -> None:
        """Build an image, with BuildKit where the client can. Raises Wrong."""
        major = int(self("version", "--format", "{{.Client.Version}}").partition(".")[0])
        has_buildkit = major < _BUILDX_NEEDED or self.can("buildx", "version")
        env = {"DOCKER_BUILDKIT": str(int(has_buildkit))}
        run(*self.client, "build", "--network=host", *words, limit_s=limit_s, env=env)

    @contextmanager
    def container(self, *words: str) -> Iterator[str]:
        """Run a container in the background while the context lasts. Raises Wrong."""
        name = f"upnp2mqtt-check-{secrets.token_hex(4)}"
        try:
            self("run", "--detach", f"--name={name}", *words)
            yield name
        finally:
            self("rm", "--force", name)


def missing_packages() -> list[str]:
    """Name the Debian packages with what is needed here and missing."""
    packages = {
        "dockerd": "docker.io",
        "mmdebstrap": "mmdebstrap",
        "mosquitto": "mosquitto",
        "mosquitto_sub": "mosquitto-clients",
    }
    absent = [name for program, name in packages.items() if not which(program)]
    # Another distribution's engine must not be replaced by Debian's.
    return [name for name in absent if name != "docker.io" or not Docker(("docker",)).can("info")]


@contextmanager
def engine(folder: Path) -> Iterator[Docker]:
    """Have an engine: the one that answers, else as root a private one in a folder.

    Raises Unable.
    """
    docker = Docker(("docker",))
    if docker.can("info"):
        yield docker
        return
    if os.geteuid():
        raise Unable("no docker engine answers, and only root can start one")
    if not which("dockerd") or not which("docker"):
        raise Unable("no docker engine answers, and there is no dockerd with a client to start one")
    address = f"unix://{folder / 'docker.sock'}"
    (folder / "daemon.json").write_text("{}")  # the machine's own is not for this one
    command = (
        *("dockerd", f"--config-file={folder / 'daemon.json'}", f"--host={address}"),
        *(f"--data-root={folder / 'data'}", f"--exec-root={folder / 'exec'}"),
        f"--pidfile={folder / 'pid'}",
        # Nothing of the machine's network is changed.
        *("--bridge=none", "--iptables=false", "--ip6tables=false"),
        *("--ip-masq=false", "--ip-forward=false"),
    )
    # The client that comes with the engine; one that was put before it may not build with it.
    client = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
    docker = Docker((client, "--host", address))
    log = folder / "dockerd.log"
    try:
        with running(*command, log=log):
            try:
                await_true(lambda: docker.can("info"), _START_S, "dockerd does not start")
            except Wrong as error:
                lines = log.read_text().splitlines()[-_LAST_LINES:]
                raise Unable("\n".join((str(error), *lines))) from error
            yield docker
    finally:
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if (mount := line.split()[1]).startswith(str(folder)):
                run("umount", "--lazy", mount)


@contextmanager
def base_image(docker: Docker, name: str) -> Iterator[bool]:
    """Have a base image; a stand-in (True) under its name if it is not there nor to be pulled.

    Raises Unable.
    """
    if docker.can("image", "inspect", name) or docker.can("pull", "--quiet", name, limit_s=300):
        yield False
        return
    certificates = f"--change=ENV PIP_CERT={_CERTIFICATES}"
    docker("import", certificates, str(_stand_in()), name, limit_s=120)
    try:
        yield True
    finally:
        docker("rmi", "--force", name)


def _stand_in() -> Path:
    """Return a root file system of Debian with its Python, made where the cache has none."""
    cache = Path(_ENV.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "upnp2mqtt"
    made_from = "\n".join(_MMDEBSTRAP).encode()
    if _CERTIFICATES.exists():
        made_from += _CERTIFICATES.read_bytes()
    archive = cache / f"base-{hashlib.sha256(made_from).hexdigest()[:12]}.tar"
    if archive.exists():
        return archive
    if not which("mmdebstrap"):
        raise Unable("the base image cannot be pulled, and no mmdebstrap makes a stand-in")
    cache.mkdir(parents=True, exist_ok=True)
    for old in cache.glob("base-*"):
        old.unlink()
    part = archive.with_suffix(f".{os.getpid()}")
    try:
        run(*_MMDEBSTRAP, str(part), limit_s=300)
        return part.rename(archive)
    except Wrong as error:
        raise Unable(
            f"the base image cannot be pulled, and a stand-in not made: {error}"
        ) from error
    finally:
        part.unlink(missing_ok=True)

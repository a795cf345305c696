# upnp2mqtt, to stand beside a broker: scripts/container builds this image and tries it.

# With another base, Python and its pip have to be there, 3.11 or newer, and glibc.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv --without-pip /opt/upnp2mqtt
COPY requirements.lock ./
RUN python3 -m pip --python /opt/upnp2mqtt/bin/python install --quiet --no-cache-dir --no-compile \
        --require-hashes --no-deps --only-binary=:all: --requirement requirements.lock
COPY LICENSE README.md pyproject.toml ./
COPY bridge bridge
RUN python3 -m pip --python /opt/upnp2mqtt/bin/python install --quiet --no-cache-dir --no-compile \
        --no-deps --no-index --no-build-isolation . \
    && python3 -m pip --python /opt/upnp2mqtt/bin/python uninstall --quiet --yes setuptools

# What only a developer needs of Python goes. Bytecode of all the rest is made here, because it cannot be
# kept where the root file system is read-only; the official image comes without any.
RUN cd "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && rm -rf /src /usr/local/bin/idle* /usr/local/bin/pip* /usr/local/bin/pydoc* /usr/local/include \
        ensurepip idlelib lib2to3 pydoc_data site-packages/* test tkinter turtledemo \
    && /opt/upnp2mqtt/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash \
        . /opt/upnp2mqtt/lib

# One layer, so that what went takes no room.
FROM scratch
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="upnp2mqtt" \
    org.opencontainers.image.description="Every UPnP device on the network, mirrored onto MQTT" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build / /
ENV PATH=/opt/upnp2mqtt/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
STOPSIGNAL SIGTERM
# Asks the bridge's own HTTP port whether it is online at its broker.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["upnp2mqtt", "health"]
# Process 1 loses a SIGTERM that it neither handles nor blocks; bridge/__main__.py says how this one is kept.
ENTRYPOINT ["/usr/bin/env", "--block-signal=TERM", "/opt/upnp2mqtt/bin/python", "-I", "-m", "bridge"]

# Sourced by scripts/run and scripts/test, in the project's folder: .venv and Debian packages.

# Tell whether the Debian packages that are missing could be installed here.
can_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Install Debian packages without a question, and without starting the services in them.
apt_install() {
    local policy=/usr/sbin/policy-rc.d guard=no status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        guard=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2 &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -qq -y --no-install-recommends install "$@" >/dev/null || status=$?
    if [ "$guard" = yes ]; then as_root rm "$policy"; fi
    return "$status"
}

# Install Debian packages, or say which and end.
need() {
    echo "installing $*" >&2
    if ! can_install || ! apt_install "$@"; then
        echo "Please install these packages, and try again: $*" >&2
        exit 1
    fi
}

# Print a Python of version 3.11 or newer.
find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "Python 3.11 or newer is needed, and not found." >&2
    return 1
}

# What .venv/made-from holds once .venv is made: a moved folder or another lock needs a new one.
venv_stamp() {
    pwd
    sha256sum "$1" pyproject.toml
}

# Tell whether .venv is what this lock file makes of it.
has_venv() {
    [ "$(venv_stamp "$1")" = "$(cat .venv/made-from 2>/dev/null)" ] &&
        .venv/bin/python -c '' 2>/dev/null
}

# Make .venv hold exactly what this lock file says, and the project itself.
make_venv() {
    local lock=$1 python
    if has_venv "$lock"; then return; fi
    python=$(find_python) || exit 1
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        need "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    echo "installing $lock into .venv" >&2
    "$python" -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
        --no-build-isolation --editable .
    venv_stamp "$lock" >.venv/made-from
}

# Have a command, from a Debian package of the same name or another: need_command NAME [PACKAGE]
need_command() {
    # Debian puts the broker where not every user's PATH leads.
    if ! PATH=$PATH:/usr/sbin:/usr/local/sbin command -v "$1" >/dev/null; then
        need "${2:-$1}"
    fi
}

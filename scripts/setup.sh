# Sourced by the other scripts here, in the project's folder: venvs and Debian packages.

# Tell whether somebody is there to type sudo's password.
has_terminal() {
    [ -t 0 ] && [ -t 2 ]
}

# Tell whether the Debian packages that are missing could be installed here.
can_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || has_terminal; }; }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has_terminal; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# Install Debian packages without a question but sudo's, and without starting the services in them.
apt_install() (
    policy=/usr/sbin/policy-rc.d unit=/lib/systemd/system/mosquitto.service
    if [ "$(id -u)" != 0 ] && ! as_root true; then return 1; fi
    trap 'exit 130' INT
    trap 'exit 143' TERM
    if [ ! -e "$policy" ]; then
        trap 'as_root rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    had_broker=no
    if [ -e "$unit" ]; then had_broker=yes; fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2 &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -qq -y --no-install-recommends install "$@" >/dev/null || return
    # What is wanted is the program. A service would have port 1883 after the next boot.
    if [ "$had_broker" = no ] && [ -e "$unit" ]; then
        as_root env DPKG_MAINTSCRIPT_PACKAGE=mosquitto deb-systemd-helper disable mosquitto.service >/dev/null
        as_root update-rc.d mosquitto disable >/dev/null 2>&1 || true
    fi
)

# Install Debian packages, or say how that is done and end.
need() {
    echo "installing $*" >&2
    if ! can_install || ! apt_install "$@"; then
        echo "Please install these packages, and try again:" >&2
        echo "  sudo apt-get install --no-install-recommends $*" >&2
        exit 1
    fi
}

# Tell whether a program is here; Debian puts the broker where not every user's PATH leads.
has_command() {
    PATH=$PATH:/usr/sbin:/usr/local/sbin command -v "$1" >/dev/null
}

# Print the first of these programs that is a Python as wanted: first_python CONDITION PROGRAM...
first_python() {
    local condition=$1 program
    shift
    for program in "$@"; do
        if "$program" -c "import sys; sys.exit(not ($condition))" 2>/dev/null; then
            command -v "$program"
            return
        fi
    done
    return 1
}

# Print a Python of version 3.11 or newer.
find_python() {
    first_python 'sys.version_info >= (3, 11)' \
        python3 python3.14 python3.13 python3.12 python3.11 && return
    echo "Python 3.11 or newer is needed, and not found." >&2
    return 1
}

# Print a Python for Home Assistant: what its release pins has no wheels for newer ones.
find_homeassistant_python() {
    first_python 'sys.version_info[:2] == (3, 13)' \
        python3.13 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python
}

# Print a Python for the oldest Home Assistant that documents of devices are for.
find_oldest_homeassistant_python() {
    first_python 'sys.version_info[:2] == (3, 12)' \
        python3.12 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python ||
        find_homeassistant_python
}

# Print the Debian packages that are missing to build what Home Assistant needs and has no wheel of
# (ciso8601, lru-dict, pymicro-vad, pyspeex-noise): a compiler, and the headers of this Python.
missing_for_homeassistant() {
    missing_for_venv "$1"
    if ! command -v c++ >/dev/null; then echo g++; fi
    "$1" -c 'import os, sys, sysconfig
if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
    print("python%d.%d-dev" % sys.version_info[:2])'
}

# Print the Debian package with what this Python needs to make a venv, if that is missing.
missing_for_venv() {
    if ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        "$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
    fi
}

# What made-from in a venv holds once it is made: a moved folder or other files need a new one.
venv_stamp() {
    pwd
    sha256sum "$@"
}

# Tell whether a venv is what these files make of it: is_venv VENV FILE...
is_venv() {
    local venv=$1
    shift
    [ "$(venv_stamp "$@")" = "$(cat "$venv/made-from" 2>/dev/null)" ] &&
        "$venv/bin/python" -c '' 2>/dev/null
}

# Make a venv hold exactly what a lock file says: fill_venv PYTHON VENV LOCK [pip's options]
fill_venv() {
    local python=$1 venv=$2 lock=$3
    shift 3
    echo "installing $lock into $venv" >&2
    "$python" -m venv --clear "$venv" &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            --require-hashes "$@" -r "$lock"
}

# Tell whether .venv is what this lock file makes of it.
has_venv() {
    is_venv .venv "$1" pyproject.toml
}

# Make .venv hold exactly what this lock file says, and the project itself.
make_venv() {
    local lock=$1 python package
    if has_venv "$lock"; then return; fi
    python=$(find_python) || exit 1
    package=$(missing_for_venv "$python")
    if [ -n "$package" ]; then need "$package"; fi
    fill_venv "$python" .venv "$lock"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
        --no-build-isolation --editable .
    venv_stamp "$lock" pyproject.toml >.venv/made-from
}

# Make a venv with a Home Assistant, or print why not: fill_homeassistant_venv PYTHON VENV LOCK
fill_homeassistant_venv() {
    local python=$1 venv=$2 lock=$3 packages
    rm -rf "$venv"
    if [ -z "$python" ]; then
        echo "no Python 3.13 here"
        return
    fi
    read -ra packages < <(missing_for_homeassistant "$python" | tr '\n' ' ') || true
    if [ ${#packages[@]} -gt 0 ] && { ! can_install || ! apt_install "${packages[@]}"; }; then
        echo "Home Assistant needs ${packages[*]}, for what it has no wheels of"
    elif fill_venv "$python" "$venv" "$lock" --no-deps; then # which has them all, whatever pip says
        venv_stamp "$lock" >"$venv/made-from"
    else
        echo "INSTALL FAILED: $lock into $venv"
    fi
}

# Make .venv-homeassistant, or print why not.
make_homeassistant_venv() {
    local lock=requirements-homeassistant.lock venv=.venv-homeassistant
    is_venv "$venv" "$lock" ||
        fill_homeassistant_venv "$(find_homeassistant_python)" "$venv" "$lock"
}

# Make .venv-homeassistant-oldest, or print why not.
make_oldest_homeassistant_venv() {
    local lock=requirements-homeassistant-oldest.lock venv=.venv-homeassistant-oldest
    is_venv "$venv" "$lock" ||
        fill_homeassistant_venv "$(find_oldest_homeassistant_python)" "$venv" "$lock"
}

# Have a command, from a Debian package of the same name or another: need_command NAME [PACKAGE]
need_command() {
    has_command "$1" || need "${2:-$1}"
}

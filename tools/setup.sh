#!/bin/sh
# Installs what the tests need and nothing else: Debian packages (as root, only the missing ones), a Python
# environment and Node packages under .cache/. Safe to repeat; does nothing when everything is there.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .cache

# --- Debian packages: program it is known by, package that brings it
missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need cc gcc
need c++ g++
need redis-server redis-server
need redis-cli redis-tools
need chromium chromium
need chromedriver chromium-driver
need python3 python3
need node nodejs
need npm npm
# Debian's own python3 has no `venv` before python3-venv is there.
python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"

if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "missing:$missing; install these (or run as root on Debian) and repeat" >&2
        exit 1
    fi
    # A package's own service must not start: the tests run servers of their own.
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && trap 'rm -f "$policy"' EXIT; }
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086  # a list on purpose
    apt-get install -qy --no-install-recommends $missing
fi

# --- Python and Node packages of the test clients, pinned; the stamp remembers which pins are installed
stamp=.cache/setup.stamp
pins=$(cat tools/requirements.txt tools/package.json tools/package-lock.json | cksum)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$pins" ] || [ ! -x .cache/venv/bin/python ]; then
    python3 -m venv .cache/venv
    .cache/venv/bin/pip install --quiet --disable-pip-version-check -r tools/requirements.txt
    mkdir -p .cache/node
    cp tools/package.json tools/package-lock.json .cache/node/
    (cd .cache/node && npm ci --silent --no-audit --no-fund)
    echo "$pins" >"$stamp"
fi

#!/bin/sh
# Installs Autobahn's test suite under .cache/autobahn/. It runs on Python 2.7 only, which current distributions do not
# carry: where there is no `python2.7`, Debian 11's packages are unpacked (not installed) beside it. Compiles one module.
# Safe to repeat; does nothing when everything is there. Prints nothing but errors.
set -eu
cd "$(dirname "$0")/../.."
here=conformance/autobahn
into=$PWD/.cache/autobahn
stamp=$into/stamp
pins=$(cat $here/requirements.txt $here/setup.sh | cksum)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$pins" ] && exit 0

rm -rf "$into"
mkdir -p "$into/bin" "$into/wheels"

# --- An interpreter
if python2.7 -c 'import ssl' >/dev/null 2>&1; then
    printf '#!/bin/sh\nexec python2.7 "$@"\n' >"$into/bin/python"
else
    command -v apt-get >/dev/null 2>&1 || { echo "Autobahn's suite needs python2.7" >&2; exit 1; }
    apt=$into/apt
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
    # The mirror that this machine already uses.
    debian() { apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' | sed -n 's/ Debian$//p' | head -n 1; }
    mirror=$(debian)
    [ -n "$mirror" ] || { apt-get update -q >/dev/null && mirror=$(debian); }
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${AUTOBAHN_DEBIAN:-$mirror} bullseye main" >"$apt/sources.list"
    # Folders of its own: the machine's package lists and database stay as they are.
    cat >"$apt/apt.conf" <<CONF
Dir::State "$apt/state";
Dir::State::status "/dev/null";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::Check-Valid-Until "false";
APT::Sandbox::User "";
CONF
    APT_CONFIG=$apt/apt.conf apt-get update -q >/dev/null
    (cd "$apt/debs" && APT_CONFIG=$apt/apt.conf apt-get download -q \
        python2.7-minimal libpython2.7-minimal libpython2.7-stdlib libpython2.7-dev libssl1.1 libffi7 >/dev/null)
    for deb in "$apt"/debs/*.deb; do dpkg-deb -x "$deb" "$into/python"; done
    rm -rf "$apt"
    library=$(dirname "$(find "$into/python" -name 'libssl.so.1.1' | head -n 1)")
    cat >"$into/bin/python" <<WRAPPER
#!/bin/sh
C_INCLUDE_PATH=$into/python/usr/include LD_LIBRARY_PATH=$library PYTHONHOME=$into/python/usr exec $into/python/usr/bin/python2.7 "\$@"
WRAPPER
fi
chmod +x "$into/bin/python"

# --- The last pip that runs on Python 2.7, fetched by the present one and run from its file
.cache/venv/bin/pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 2.7 \
    --dest "$into/wheels" pip==20.3.4 setuptools==44.1.1 wheel==0.37.1
path=$(printf '%s:' "$into"/wheels/*.whl)
cert=${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}
PYTHONPATH=$path "$into/bin/python" -m pip install --quiet --disable-pip-version-check --no-python-version-warning \
    ${cert:+--cert "$cert"} --target "$into/site" -r $here/requirements.txt
echo "$pins" >"$stamp"

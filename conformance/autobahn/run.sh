#!/bin/sh
# Plays Autobahn's 517 cases against an Echo endpoint and compares each result with expected.json.
# Prints "N passed, N failed"; ends nonzero when a result differs. The reports are .cache/autobahn/report*/index.html.
#
#   run.sh            starts target/release/rtgw by itself (RTGW names another program)
#   run.sh URL        asks the server at URL
#   run.sh URL 9.*    only these cases
set -eu
cd "$(dirname "$0")/../.."
here=conformance/autobahn
into=$PWD/.cache/autobahn
tools/setup.sh
$here/setup.sh

url=${1:-}
cases=${2:-*}
if [ -z "$url" ]; then
    rtgw=${RTGW:-target/release/rtgw}
    port=$(.cache/venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    admin=$(.cache/venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$rtgw" serve -f $here/gateway.yaml --listen "127.0.0.1:$port" --admin "127.0.0.1:$admin" 2>"$into/gateway.log" &
    gateway=$!
    trap 'kill "$gateway" 2>/dev/null; wait "$gateway" 2>/dev/null || true' EXIT
    url=ws://127.0.0.1:$port/echo
    .cache/venv/bin/python $here/wait.py "http://127.0.0.1:$admin/readyz" || { cat "$into/gateway.log" >&2; exit 1; }
fi

# Two at a time halves the wait; the groups take about as long as each other.
play() { # NAME CASES, a list as JSON
    rm -rf "$into/$1"
    cat >"$into/$1.json" <<SPEC
{"outdir": "$into/$1", "servers": [{"agent": "rtgw", "url": "$url"}], "cases": $2, "exclude-cases": [], "exclude-agent-cases": {}}
SPEC
    "$into/bin/python" -c "import site; site.addsitedir('$into/site'); from autobahntestsuite.wstest import run; run()" \
        --mode fuzzingclient --spec "$into/$1.json" >"$into/$1.log" 2>&1 || { tail -n 20 "$into/$1.log" >&2; return 1; }
}
if [ "$cases" = "*" ]; then
    play report-plain '["1.*","2.*","3.*","4.*","5.*","6.*","7.*","9.*","10.*","12.*"]' &
    plain=$!
    play report-parameters '["13.*"]'
    wait "$plain"
    set -- "$into/report-plain/index.json" "$into/report-parameters/index.json"
else
    play report "[\"$cases\"]"
    set -- "$into/report/index.json"
fi
.cache/venv/bin/python $here/compare.py $here/expected.json "$cases" "$@"

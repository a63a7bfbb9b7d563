#!/bin/sh
# Runs the fuzz targets one after the other: fuzz/run.sh [--fixed] [TARGET...]
# Without --fixed each runs for SECONDS_EACH (default 20) seconds from a random seed, and goes on with what it found before.
# With --fixed each runs the same inputs every time, as many as fuzz/runs says, so that the same code has the same outcome:
# the seed is fixed, nothing is kept, and neither addresses nor the keys of hash maps are random.
# Needs a C++ compiler but neither nightly Rust nor cargo-fuzz: the code forbids `unsafe`, so coverage is enough and no
# sanitizer is asked for. An input that fails is left in fuzz/artifacts; run the binary with it to see it again.
set -eu
cd "$(dirname "$0")"
fixed=
[ "${1-}" != --fixed ] || { fixed=yes; shift; }
host=$(rustc -vV | sed -n 's/^host: //p')
# The flags of `cargo fuzz run --sanitizer none`. The target is named so that build scripts stay uninstrumented.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
cargo build --release --target "$host"
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | grep -vx rtgw-fuzz)

before=
if [ -n "$fixed" ]; then
    # Where a container forbids it, addresses stay random and so does, a little, which inputs are tried.
    ! setarch -R true 2>/dev/null || before="setarch -R"
    same=$PWD/target/$host/same-random.so
    echo '#include <string.h>
        long getrandom(void *into, unsigned long bytes, unsigned flags) { memset(into, 7, bytes); return bytes; }' |
        cc -shared -fPIC -w -x c -o "$same" -
    before="env LD_PRELOAD=$same $before"
fi

for target in "$@"; do
    mkdir -p "artifacts/$target"
    dictionary=
    [ ! -f "seeds/$target.dict" ] || dictionary=-dict=seeds/$target.dict
    if [ -n "$fixed" ]; then
        runs=$(sed -n "s/^$target //p" runs)
        [ -n "$runs" ] || { echo "$target: fuzz/runs does not say how many" >&2; exit 1; }
        corpus=target/fixed-corpus/$target
        rm -rf "$corpus"
        # Another process's finds are not looked for, and a busy machine is no timeout.
        bound="-seed=1 -runs=$runs -reload=0 -timeout=60"
    else
        corpus=corpus/$target
        bound="-max_total_time=${SECONDS_EACH:-20} -timeout=5"
    fi
    mkdir -p "$corpus"
    log=artifacts/$target.log
    if ! $before "target/$host/release/$target" $bound -rss_limit_mb=1024 -max_len=4096 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="artifacts/$target/" $dictionary "$corpus" "seeds/$target" \
        >"$log" 2>&1; then
        cat "$log"
        echo "$target: FAILED; the input is in fuzz/artifacts/$target" >&2
        exit 1
    fi
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, $(sed -n 's/^stat::new_units_added: *//p' "$log") of them kept"
done

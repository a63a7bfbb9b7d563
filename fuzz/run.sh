#!/bin/sh
# Runs the fuzz targets one after the other, each for SECONDS_EACH (default 20) seconds: fuzz/run.sh [TARGET...]
# Needs a C++ compiler but neither nightly Rust nor cargo-fuzz: the code forbids `unsafe`, so coverage is enough and no
# sanitizer is asked for. An input that fails is left in fuzz/artifacts; run the binary with it to see it again.
set -eu
cd "$(dirname "$0")"
host=$(rustc -vV | sed -n 's/^host: //p')
# The flags of `cargo fuzz run --sanitizer none`. The target is named so that build scripts stay uninstrumented.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
cargo build --release --target "$host"
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | grep -vx rtgw-fuzz)
for target in "$@"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    dictionary=
    [ ! -f "seeds/$target.dict" ] || dictionary=-dict=seeds/$target.dict
    log=artifacts/$target.log
    if ! "target/$host/release/$target" -max_total_time="${SECONDS_EACH:-20}" -timeout=5 -rss_limit_mb=1024 -max_len=4096 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="artifacts/$target/" $dictionary "corpus/$target" "seeds/$target" \
        >"$log" 2>&1; then
        cat "$log"
        echo "$target: FAILED; the input is in fuzz/artifacts/$target" >&2
        exit 1
    fi
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, $(sed -n 's/^stat::new_units_added: *//p' "$log") of them kept"
done

//! The `rtgw` program: reads the command line, runs one verb, and turns its outcome into an exit code.

use std::process::ExitCode;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    rtgw::cli::run(std::env::args_os())
}

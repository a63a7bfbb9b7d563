//! Floods leave those who behave alive: the benchmark's own rows, short, with a bound that a busy machine keeps.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use support::gateway::rtgw;

/// What a debug build on a machine of many tests may need, milliseconds. A starved gateway takes seconds or delivers nothing.
const AGE: f64 = 400.0;

#[test]
fn those_who_behave_hear_beside_every_flood() {
    let output =
        rtgw().args(["bench", "--row", "floods", "--rounds", "1", "--seconds", "0.5"]).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{table}{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| p99 beside")).collect();
    assert_eq!(rows.len(), 7, "{table}");
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let figure = |cell: &str| cell.trim_end_matches(" ms").parse::<f64>().unwrap();
        let (flooded, quiet) = (figure(cells[2]), figure(cells[3]));
        assert!(flooded < AGE.max(10.0 * quiet), "{row}");
        let attempts = cells[1].split(' ').nth(2).unwrap().parse::<u32>().unwrap();
        assert!(attempts > 5, "the flood was one: {row}");
    }
}

//! Writes wall-clock time as RFC 3339 in UTC with milliseconds.

use jiff::fmt::temporal::DateTimePrinter;
use rtgw_model::Timestamp;

static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// The first instant that RFC 3339 can write: year 0.
const FIRST: i64 = -62_167_219_200_000;

/// Appends `timestamp`. What RFC 3339 cannot write becomes the nearest instant that it can.
pub(super) fn write(timestamp: Timestamp, out: &mut Vec<u8>) {
    let instant = jiff::Timestamp::from_millisecond(timestamp.0.max(FIRST)).unwrap_or(jiff::Timestamp::MAX);
    // Fails only where the writer fails, which a Vec does not.
    let _ = PRINTER.print_timestamp(&instant, out);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_instant_is_rfc_3339_with_milliseconds() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_763_722_920_007, "2025-11-21T11:02:00.007Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (i64::MIN, "0000-01-01T00:00:00.000Z"),
            (i64::MAX, "9999-12-30T22:00:00.999Z"),
        ] {
            let mut out = Vec::new();
            write(Timestamp(ms), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}

//! What happens to a channel's publications on their way to clients.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::units::DurationText;

/// What happens to a channel's publications on their way to clients.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Delivery {
    /// What gives when a client reads so slowly that its queue is full (`limits.connection.queueBytes`, `queueMessages`). A queue is
    /// shared by the channels that a client hears: whatever comes to a full one, publications of channels that let it go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Disconnect"))]
    pub slow_consumer: Option<SlowConsumer>,
    /// At most so many publications of one key, evenly spaced: the first goes at once, then one per interval, the newest always. A key
    /// is the event with the tags that `filters` ask and the one of `conflate`. `5/s`, `30/m`, `1/5s`; from one every 10 minutes to
    /// 100 per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<RateText>,
    /// With `maxRate` or `slowConsumer: LatestPerKey`: a tag whose values are kept apart from each other, such as the id of what an
    /// event reports on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub conflate: Option<String>,
    /// How long publications may wait to be written together. 1ms to 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<DurationText>,
    /// The events that `maxRate`, `batch` and the replacing of `LatestPerKey` are about; absent: all. Others go at once, and none takes
    /// the place of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)))]
    pub events: Option<Vec<String>>,
    /// Which channels go first to a client that reads slower than there is to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Normal"))]
    pub priority: Option<Priority>,
    /// Publications are never compressed, so that their length says nothing about what stands in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub sensitive: Option<bool>,
}

/// What gives when a client's queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SlowConsumer {
    /// The client, unless what waits of other channels makes room: it is closed with 4430.
    #[default]
    Disconnect,
    /// The channel's publications, the oldest first; the client is told by a `gap` where they stood.
    DropOldest,
    /// The same; and while a publication waits for a client, a newer one of its key takes its place. No `gap` is told of that.
    LatestPerKey,
}

/// Which channels go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Priority {
    /// Before the others; of nine publications one is left to them.
    High,
    /// Between.
    #[default]
    Normal,
    /// Behind the others, which leave it one publication of nine.
    Low,
}

/// What a rate looks like.
pub const RATE_PATTERN: &str = "^[0-9]{1,5}/([0-9]{1,5})?(h|m|s|ms)$";

/// A rate as text: `1/s`, `30/m`, `1/5s`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct RateText(pub String);

impl RateText {
    /// The time between two, rounded up to milliseconds, if the text follows [`RATE_PATTERN`] and allows anything at all.
    pub fn interval(&self) -> Option<Duration> {
        let (count, per) = self.0.split_once('/')?;
        let per = if per.starts_with(|first: char| first.is_ascii_digit()) {
            per.to_owned()
        } else {
            format!("1{per}")
        };
        // One unit: `1m30s` is a duration too, and not what the pattern says.
        if per.trim_start_matches(|one: char| one.is_ascii_digit()).contains(|one: char| one.is_ascii_digit())
        {
            return None;
        }
        let plain = (1..=5).contains(&count.len()) && count.bytes().all(|one| one.is_ascii_digit());
        let count = count.parse::<u64>().ok().filter(|count| plain && *count > 0)?;
        let per = u64::try_from(DurationText(per).parse()?.as_millis()).ok()?;
        Some(Duration::from_millis(per.div_ceil(count)))
    }
}

impl JsonSchema for RateText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": RATE_PATTERN, "maxLength": 16 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_spaces_between_two() {
        let millis = |text: &str| RateText(text.into()).interval().map(|interval| interval.as_millis());
        assert_eq!(millis("1/s"), Some(1_000));
        assert_eq!(millis("5/s"), Some(200));
        assert_eq!(millis("3/s"), Some(334));
        assert_eq!(millis("30/m"), Some(2_000));
        assert_eq!(millis("1/5s"), Some(5_000));
        assert_eq!(millis("2/250ms"), Some(125));
        assert_eq!(millis("1/h"), Some(3_600_000));
        assert_eq!(millis("99999/ms"), Some(1));
        for bad in [
            "", "1", "/s", "1/", "0/s", "1/0s1", "-1/s", "+1/s", "1.5/s", "1 /s", "1/ s", "1/d", "1/1m30s",
            "100000/s", "1/s/s", "٣/s",
        ] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }
}

//! Named lists of values by which a subscriber narrows what it hears.

/// Most named lists in one filter.
pub const FILTER_LISTS: usize = 8;
/// Most values in one list.
pub const FILTER_VALUES: usize = 64;
/// Longest value in bytes.
pub const FILTER_VALUE_BYTES: usize = 128;

/// The name of a list as the client writes it (`job_ids`); `event_types` is built in and filters by event.
pub type ListName = Box<str>;

/// Named lists as a client asked for them, in its order; unique names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterLists(pub Vec<(ListName, Vec<Box<str>>)>);

impl FilterLists {
    /// The built-in list that filters by event.
    pub const EVENT_TYPES: &'static str = "event_types";

    /// Whether no list is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of the list `name`.
    pub fn get(&self, name: &str) -> Option<&[Box<str>]> {
        self.0.iter().find(|(known, _)| &**known == name).map(|(_, values)| values.as_slice())
    }
}

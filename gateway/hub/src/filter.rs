//! Filters of subscriptions, compiled from the lists a client names.

use rtgw_model::{ChannelPolicy, Denied, ErrorCode, FILTER_LISTS, FILTER_VALUES, FilterLists, Publication};

/// The values of which one must be there.
type Values = Box<[Box<str>]>;

/// What a subscriber wants of a channel: all conditions must hold. Matching allocates nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    events: Option<Values>,
    tags: Box<[(Box<str>, Values)]>,
}

impl Filter {
    /// The filter for lists that a `subscribe` named for this channel: each must be declared by the channel's rule.
    ///
    /// # Errors
    /// `unknown_filter` naming the list.
    pub(crate) fn explicit(lists: &FilterLists, policy: &ChannelPolicy) -> Result<Option<Box<Self>>, Denied> {
        if let Some((name, _)) = lists.0.iter().find(|(name, _)| !declared(policy, name)) {
            return Err(unknown(name));
        }
        Ok(Self::declared_part(lists, policy))
    }

    /// The filter that narrowing puts on one auto-subscribed channel: lists its rule does not declare say nothing about it.
    pub(crate) fn declared_part(lists: &FilterLists, policy: &ChannelPolicy) -> Option<Box<Self>> {
        let mut events = None;
        let mut tags = Vec::new();
        for (name, values) in &lists.0 {
            if &**name == FilterLists::EVENT_TYPES {
                events = Some(values.clone().into_boxed_slice());
            } else if let Some(tag) = policy.filter_tag(name) {
                tags.push((Box::from(tag), values.clone().into_boxed_slice()));
            }
        }
        (events.is_some() || !tags.is_empty())
            .then(|| Box::new(Self { events, tags: tags.into_boxed_slice() }))
    }

    /// Whether the subscriber wants `publication`. A publication without an asked tag does not match.
    pub(crate) fn matches(&self, publication: &Publication) -> bool {
        let holds = |values: &[Box<str>], value: &str| values.iter().any(|known| &**known == value);
        self.events.as_deref().is_none_or(|events| holds(events, &publication.event))
            && self
                .tags
                .iter()
                .all(|(tag, values)| publication.tag(tag).is_some_and(|value| holds(values, value)))
    }
}

/// Whether the rule behind `policy` knows the list.
pub(crate) fn declared(policy: &ChannelPolicy, name: &str) -> bool {
    name == FilterLists::EVENT_TYPES || policy.filter_tag(name).is_some()
}

/// The error for a list that nothing declares.
pub(crate) fn unknown(name: &str) -> Denied {
    Denied::new(ErrorCode::UnknownFilter, format!("no channel declares the filter {name:?}"))
}

/// Adds the values of `more` to `lists`, each value once.
///
/// # Errors
/// `too_large` when the result would be above the bounds; `lists` is unchanged then.
pub(crate) fn add(lists: &mut FilterLists, more: FilterLists) -> Result<(), Denied> {
    let mut result = lists.clone();
    for (name, values) in more.0 {
        let at = match result.0.iter().position(|(known, _)| *known == name) {
            Some(at) => at,
            None => {
                result.0.push((name, Vec::new()));
                result.0.len() - 1
            }
        };
        let known = &mut result.0[at].1;
        for value in values {
            if !known.contains(&value) {
                known.push(value);
            }
        }
        if known.len() > FILTER_VALUES {
            return Err(Denied::new(
                ErrorCode::TooLarge,
                format!("a filter holds at most {FILTER_VALUES} values"),
            ));
        }
    }
    if result.0.len() > FILTER_LISTS {
        return Err(Denied::new(ErrorCode::TooLarge, format!("at most {FILTER_LISTS} filters at a time")));
    }
    *lists = result;
    Ok(())
}

/// Takes the values of `fewer` away. A list once asked for stays, even empty: it then lets nothing through.
pub(crate) fn take_away(lists: &mut FilterLists, fewer: &FilterLists) {
    for (name, values) in &fewer.0 {
        if let Some((_, known)) = lists.0.iter_mut().find(|(known, _)| known == name) {
            known.retain(|value| !values.contains(value));
        }
    }
}

//! Who hears a channel: what is kept of it.

use super::Check;
use crate::checked::Presence;
use crate::expression::Scope;
use crate::problem::Problem;
use crate::raw;

impl Check<'_> {
    /// What is wrong is left out; the problem refuses the configuration anyway.
    pub(super) fn presence(
        &mut self,
        path: &str,
        presence: Option<&raw::Presence>,
        scope: &Scope<'_>,
    ) -> Option<Presence> {
        let presence = presence?;
        let enabled = presence.enabled.unwrap_or(false);
        let join_leave = presence.join_leave.unwrap_or(false);
        let info = self.optional(&format!("{path}.info"), presence.info.as_ref(), scope).flatten();
        for (field, given) in [("joinLeave", join_leave), ("info", presence.info.is_some())] {
            if given && !enabled {
                let problem =
                    Problem::error(format!("{path}.{field}"), "does nothing without `enabled: true`");
                self.problems.add(problem);
            }
        }
        enabled.then_some(Presence { join_leave, info })
    }
}

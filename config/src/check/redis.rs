//! Addresses of Redis.

use super::{Check, syntax};
use crate::checked::{PreviousRedis, Redis, RedisAddress};
use crate::problem::Problem;
use crate::raw;

impl Check<'_> {
    pub(super) fn redis(&mut self, redis: Option<&raw::Redis>) -> Option<Redis> {
        let Some(redis) = redis else { return Some(Redis::Embedded) };
        match (&redis.embedded, &redis.external) {
            (Some(_), None) => Some(Redis::Embedded),
            (None, Some(external)) => {
                self.redis_address("spec.redis.external", external).map(Redis::External)
            }
            (None, None) => {
                let problem = Problem::error("spec.redis", "says nothing");
                self.problems
                    .add(problem.hint("managed: {}, embedded: {} or external: {url: …}; absent is embedded"));
                None
            }
            (Some(_), Some(_)) => {
                self.error(
                    "spec.redis",
                    "has several members: only one of managed, embedded and external can be meant",
                );
                None
            }
        }
    }

    /// Outer `None`: there is one and it is wrong.
    #[expect(clippy::option_option, reason = "absent and wrong are different things here")]
    pub(super) fn previous_redis(
        &mut self,
        redis: Option<&raw::Redis>,
        current: Option<&Redis>,
    ) -> Option<Option<PreviousRedis>> {
        let Some(redis) = redis else { return Some(None) };
        let (previous, write_to) = match (&redis.previous, redis.write_to) {
            (None, None) => return Some(None),
            (None, Some(_)) => {
                let problem = Problem::error(
                    "spec.redis.writeTo",
                    "says which of two Redis is written, and there is one",
                );
                self.problems
                    .add(problem.hint("name the one that is being left as `previous`, or take this out"));
                return None;
            }
            (Some(_), None) => {
                let problem = Problem::error(
                    "spec.redis.previous",
                    "needs `writeTo`, which says which of both is written",
                );
                self.problems.add(problem.hint("writeTo: Previous at first; Current once all pods run that"));
                return None;
            }
            (Some(previous), Some(write_to)) => (previous, write_to),
        };
        let address = self.redis_address("spec.redis.previous.external", &previous.external);
        let address = address?;
        match current? {
            Redis::Embedded => {
                let problem = Problem::error("spec.redis.previous", "can only be left for `external`");
                self.problems
                    .add(problem.hint("the memory of a process has nothing that another could read"));
                None
            }
            Redis::External(current) if current.place() == address.place() => {
                let problem = Problem::error("spec.redis.previous", "is the same Redis as `external`");
                self.problems.add(problem.hint("its user, password and certificates change without stages"));
                None
            }
            Redis::External(_) => Some(Some(PreviousRedis { address, write_to })),
        }
    }

    pub(super) fn redis_address(&mut self, path: &str, redis: &raw::ExternalRedis) -> Option<RedisAddress> {
        let place = format!("{path}.url");
        let fits = match syntax::redis_url(&redis.url) {
            Ok(()) => true,
            Err(syntax::AddressError::Wrong(message, hint)) => {
                self.problems.add(Problem::error(place, message).hint(hint));
                false
            }
            Err(syntax::AddressError::Unbuilt) => {
                let message = "has a scheme that is not in this version";
                self.problems
                    .add(Problem::error(place, message).hint("in this version: redis:// and rediss://"));
                false
            }
        };
        let password = match &redis.password_ref {
            None => None,
            Some(reference) => Some(self.secret(&format!("{path}.passwordRef"), reference)?),
        };
        let ca = match &redis.ca_ref {
            None => None,
            Some(reference) => {
                let place = format!("{path}.caRef");
                // A file of certificates ends with a line break, which is no mistake here.
                let ca = self.stored(&place, reference)?;
                if fits && !syntax::redis_tls(&redis.url) {
                    let problem = Problem::error(place, "is of no use without TLS");
                    self.problems.add(problem.hint("write the address with rediss://"));
                    return None;
                }
                Some(ca)
            }
        };
        fits.then(|| RedisAddress { url: redis.url.clone(), password, ca })
    }
}

//! From one Redis to another while pods serve: which stage comes next. Pods of two neighbouring stages run side by side, so each stage
//! begins when all pods run the one before.

use rtgw_config::checked::RedisAddress;
use rtgw_config::raw::{ExternalRedis, PreviousRedis, Redis, WriteTo};

/// What pods are to be configured with, where `wanted` is what the object says and `there` what the ConfigMap holds. `agree`: all pods, those
/// that are going included, run that and deliver.
pub fn next(wanted: Option<&Redis>, there: Option<&Redis>, agree: bool) -> Option<Redis> {
    let target = wanted.cloned();
    let (Some(wanted), Some(there)) = (wanted, there) else { return target };
    // Whoever writes the stages into the object goes through them by hand.
    if wanted.previous.is_some() {
        return target;
    }
    let (Some(new), Some(current)) = (&wanted.external, &there.external) else { return target };
    let arrives = same(new, current);
    match (&there.previous, there.write_to) {
        (Some(old), Some(WriteTo::Previous)) if arrives => {
            let write_to = if agree { WriteTo::Current } else { WriteTo::Previous };
            Some(both(new, &old.external, write_to))
        }
        // Turned round before anything was written in the new one.
        (Some(old), Some(WriteTo::Previous)) if same(new, &old.external) => Some(alone(new)),
        (Some(old), Some(WriteTo::Previous)) => Some(alone(&old.external)),
        (Some(old), _) => {
            // There is no way back from here: where another one is wanted by now, that is gone to from the new one.
            let current = if arrives { new } else { current };
            Some(if agree { alone(current) } else { both(current, &old.external, WriteTo::Current) })
        }
        (None, _) if arrives => target,
        (None, _) => Some(both(new, current, WriteTo::Previous)),
    }
}

/// Whether both are the same Redis, whoever connects.
fn same(one: &ExternalRedis, other: &ExternalRedis) -> bool {
    let place =
        |redis: &ExternalRedis| RedisAddress { url: redis.url.clone(), password: None, ca: None }.place();
    place(one) == place(other)
}

fn alone(external: &ExternalRedis) -> Redis {
    Redis { external: Some(external.clone()), ..Redis::default() }
}

fn both(external: &ExternalRedis, previous: &ExternalRedis, write_to: WriteTo) -> Redis {
    Redis {
        previous: Some(PreviousRedis { external: previous.clone() }),
        write_to: Some(write_to),
        ..alone(external)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redis(host: &str) -> Redis {
        alone(&ExternalRedis { url: format!("redis://{host}:6379"), password_ref: None, ca_ref: None })
    }

    fn reads(redis: &Redis) -> Vec<&str> {
        let previous = redis.previous.as_ref().map(|previous| previous.external.url.as_str());
        redis.external.iter().map(|external| external.url.as_str()).chain(previous).collect()
    }

    fn writes(redis: &Redis) -> &str {
        let previous = redis.previous.as_ref().filter(|_| redis.write_to == Some(WriteTo::Previous));
        let external = previous.map(|previous| &previous.external).or(redis.external.as_ref());
        external.map_or("", |external| &external.url)
    }

    #[test]
    fn three_stages_lead_from_one_to_the_other() {
        let (old, new) = (redis("old"), redis("new"));
        let first = next(Some(&new), Some(&old), true).unwrap();
        assert_eq!((reads(&first).len(), writes(&first)), (2, writes(&old)));
        assert_eq!(
            next(Some(&new), Some(&first), false).as_ref(),
            Some(&first),
            "not before all pods run it"
        );
        let second = next(Some(&new), Some(&first), true).unwrap();
        assert_eq!((reads(&second).len(), writes(&second)), (2, writes(&new)));
        assert_eq!(next(Some(&new), Some(&second), false).as_ref(), Some(&second));
        assert_eq!(next(Some(&new), Some(&second), true), Some(new.clone()));
        assert_eq!(next(Some(&new), Some(&new), false), Some(new), "and that is the end");
    }

    #[test]
    fn credentials_take_no_stage() {
        let other =
            alone(&ExternalRedis { url: "redis://user@old".into(), password_ref: None, ca_ref: None });
        assert_eq!(next(Some(&other), Some(&redis("old")), false), Some(other));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        /// However often minds change and in whatever order pods follow: each pod reads what any other writes.
        #[test]
        fn pods_side_by_side_always_hear_each_other(steps in prop::collection::vec((0..6_usize, 0..3_usize), 1..60)) {
            let places = ["a", "b", "c"].map(redis);
            let (mut wanted, mut there) = (places[0].clone(), places[0].clone());
            let mut pods = vec![there.clone(); 3];
            for (act, which) in steps {
                match act {
                    0 => wanted = places[which].clone(),
                    1..=3 => pods[which] = there.clone(),
                    _ => {
                        let agree = pods.iter().all(|pod| *pod == there);
                        there = next(Some(&wanted), Some(&there), agree).unwrap();
                    }
                }
                for one in pods.iter().chain([&there]) {
                    for other in pods.iter().chain([&there]) {
                        prop_assert!(reads(one).contains(&writes(other)), "{one:?} {other:?}");
                    }
                }
            }
            // Left alone, everyone arrives.
            for _ in 0..12 {
                there = next(Some(&wanted), Some(&there), true).unwrap();
                pods.fill(there.clone());
            }
            prop_assert_eq!(there, wanted);
        }
    }
}

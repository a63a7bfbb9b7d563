//! Keeps Redis told: the counts as a whole at first and whenever they are not trusted, then step by step, one batch at a time.

use std::time::Duration;

use redis::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::ledger::{Counted, GivingWay, Step, Subjects, subjects, waiting};
use super::{Census, Claim, Shared, Subject, Verdict};
use crate::redis_link::{Backoff, Call, Quiet, Script, Trouble};
use std::sync::atomic::Ordering;

/// How long the counts of a pod that says nothing any more are believed.
pub(super) const LEASE: Duration = Duration::from_secs(10);
/// How often a pod without anything to say renews its lease.
const RENEW: Duration = Duration::from_secs(2);
/// How long a batch may take: those who wait for it and those who come meanwhile are held up for no longer.
const FLIGHT: Duration = Duration::from_millis(500);
/// Counts that are written at once.
const CHUNK: usize = 500;

static BATCHES: Script = Script::new(include_str!("batch.lua"));
static REGISTER: Script = Script::new(include_str!("register.lua"));

type Waiting = oneshot::Sender<Verdict>;

impl Census {
    /// Keeps the counts of this pod in Redis until dropped; never gives up. Once.
    pub async fn keep(&self) {
        let (mut backoff, mut log) = (Backoff::default(), Quiet::default());
        loop {
            // Asked again now and then only because a wait has to have an end.
            while self.shared.link.load_full().ready(LEASE).await.is_err() {}
            let trouble = match self.shared.register().await {
                Ok(serial) => {
                    log.end();
                    backoff.reset();
                    self.serve(serial).await
                }
                Err(trouble) => trouble,
            };
            self.doubt();
            if log.speaks(trouble.reason()) {
                tracing::warn!(error = %trouble, reason = trouble.reason(),
                    "limits are kept by this pod's own counts until Redis has been told of them: {}", trouble.advice());
            }
            sleep(backoff.delay()).await;
        }
    }

    /// Sends batches until one does not come back as it should.
    async fn serve(&self, mut serial: u64) -> Trouble {
        let mut due = Instant::now() + RENEW;
        loop {
            let steps = {
                let mut ledger = self.shared.ledger.lock();
                if !ledger.agrees() {
                    return Trouble::Odd;
                }
                ledger.batch()
            };
            if steps.is_empty() && Instant::now() < due {
                // Early or late, what there is to do is looked up.
                let _woken = timeout_at(due, self.shared.wake.notified()).await;
                continue;
            }
            let flight = timeout(FLIGHT, self.shared.fly(&steps, serial)).await;
            match flight.unwrap_or(Err(Trouble::Silent)) {
                Ok(answers) => self.landed(steps, answers),
                Err(trouble) => {
                    self.lost(steps);
                    return trouble;
                }
            }
            serial = serial.wrapping_add(1);
            due = Instant::now() + RENEW;
        }
    }

    /// Tells those who waited for a batch.
    fn landed(&self, steps: Vec<Step<Waiting>>, answers: Vec<Counted>) {
        for ((bounds, answer), counted) in waiting(steps).into_iter().zip(answers) {
            self.shared.by_all.fetch_add(1, Ordering::Relaxed);
            let verdict = match counted {
                Counted::Refused(bound) => Verdict::Refused(bound),
                Counted::In { stamp, giving_way } => {
                    let subjects: Subjects = subjects(&bounds);
                    self.shared.ledger.lock().hold(&subjects, stamp);
                    self.end(giving_way);
                    Verdict::In(Claim { census: self.clone(), subjects, stamp, by_all: true })
                }
            };
            // Whoever has gone meanwhile gives its places back here.
            drop(answer.send(verdict));
        }
    }

    fn end(&self, giving_way: Vec<GivingWay>) {
        for one in giving_way {
            if one.pod == self.shared.pod {
                self.give_way(one.subject, one.stamp);
            } else {
                self.shared.reach.tell(one);
            }
        }
    }

    /// Nobody knows what became of a batch: those who waited for it are let in by this pod's own counts.
    fn lost(&self, steps: Vec<Step<Waiting>>) {
        for (bounds, answer) in waiting(steps) {
            let verdict = self.own(&mut self.shared.ledger.lock(), &bounds);
            drop(answer.send(verdict));
        }
    }
}

impl Shared {
    /// Writes all counts of this pod; the serial of the first batch.
    async fn register(&self) -> Result<u64, Trouble> {
        let picture = self.ledger.lock().picture();
        let serial = fastrand::u64(..u64::MAX / 2);
        self.link.load_full().query::<()>(redis::cmd("DEL").arg(&self.beside)).await?;
        for chunk in picture.chunks(CHUNK) {
            let mut write = redis::cmd("HSET");
            write.arg(&self.beside);
            for (subject, value) in chunk {
                write.arg(subject.as_bytes()).arg(value.as_slice());
            }
            let mut pipeline = redis::pipe();
            pipeline.add_command(write).cmd("PEXPIRE").arg(&self.beside).arg(millis(LEASE));
            self.link.load_full().pipeline(&pipeline).await?;
        }
        let mut call = Call::default();
        call.key(&self.pods).key(&self.own).key(&self.beside);
        call.arg(&self.pod).arg(millis(LEASE)).arg(serial);
        self.link.load_full().invoke::<()>(&REGISTER, &call).await?;
        self.ledger.lock().registered();
        Ok(serial)
    }

    /// Sends a batch, which also renews the lease; one answer for each that waits for one.
    async fn fly(&self, steps: &[Step<Waiting>], serial: u64) -> Result<Vec<Counted>, Trouble> {
        let mut call = Call::default();
        call.key(&self.pods).key(&self.own);
        call.arg(&self.pod).arg(millis(LEASE)).arg(serial).arg(serial.wrapping_add(1));
        call.arg(self.ledger.lock().last());
        let mut asked = 0;
        for step in steps {
            match step {
                Step::Enter(bounds, _) => {
                    asked += 1;
                    call.arg("E").arg(bounds.len());
                    for bound in bounds {
                        let above = if bound.oldest_gives_way { "c" } else { "r" };
                        call.arg(bound.subject.as_bytes()).arg(bound.most).arg(above);
                    }
                }
                Step::Entered(subjects, stamp) => tell(&mut call, "A", subjects, *stamp),
                Step::Left(subjects, stamp) => tell(&mut call, "L", subjects, *stamp),
            }
        }
        let answers: Value = self.link.load_full().invoke(&BATCHES, &call).await?;
        let Value::Array(answers) = answers else { return Err(Trouble::Odd) };
        let answers: Vec<Counted> = answers.iter().map_while(counted).collect();
        if answers.len() == asked { Ok(answers) } else { Err(Trouble::Odd) }
    }
}

fn tell(call: &mut Call, word: &str, subjects: &Subjects, stamp: u64) {
    call.arg(word).arg(stamp.to_be_bytes().as_slice()).arg(subjects.len());
    for subject in subjects {
        call.arg(subject.as_bytes());
    }
}

/// An answer of the script.
fn counted(answer: &Value) -> Option<Counted> {
    let Value::Array(parts) = answer else { return None };
    let whole = |value: &Value| match value {
        Value::Int(whole) => u64::try_from(*whole).ok(),
        _ => None,
    };
    let bytes = |value: &Value| match value {
        Value::BulkString(bytes) => Some(bytes.clone()),
        _ => None,
    };
    let bound = whole(parts.first()?)?;
    if let Some(bound) = bound.checked_sub(1) {
        return usize::try_from(bound).ok().map(Counted::Refused);
    }
    let stamp = whole(parts.get(1)?)?;
    let giving_way = parts.get(2..)?.chunks(3).map(|one| {
        let [pod, subject, number] = one else { return None };
        let subject = Subject::from_bytes(&bytes(subject)?)?;
        let stamp = u64::from_be_bytes(bytes(number)?.try_into().ok()?);
        Some(GivingWay { pod: String::from_utf8(bytes(pod)?).ok()?, subject, stamp })
    });
    let giving_way = giving_way.collect::<Option<Vec<_>>>()?;
    Some(Counted::In { stamp, giving_way })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! The Redis through which pods speak: one, or two while the gateway goes from one to another. What is said is said in all of them and
//! heard in any, so that pods of two stages hear each other whichever of them writes where.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Others;
use super::hearing::Ordered;
use crate::control::Control;
use crate::redis_link::{Address, Link, Task};

/// One Redis; clones share the connection.
#[derive(Clone)]
pub struct Way {
    pub(super) address: Address,
    pub(super) link: Link,
    _keeping: Arc<Task>,
}

impl Way {
    /// A way that begins to connect.
    pub fn new(address: &Address) -> Self {
        let link = Link::new("pods", address.clone());
        let kept = link.clone();
        let keeping = Arc::new(Task::run(async move { kept.keep().await }));
        Self { address: address.clone(), link, _keeping: keeping }
    }

    /// Where it leads.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its connection.
    pub fn link(&self) -> &Link {
        &self.link
    }
}

impl Others {
    /// Speaks these ways from now on, the one first whose time counts.
    pub fn go(&self, ways: Vec<Way>) {
        self.ways.send_replace(ways);
        self.learnt();
    }

    pub(super) fn ways(&self) -> Vec<Way> {
        self.ways.borrow().clone()
    }

    /// Keeps what there is to be done for each way, until dropped.
    pub(super) async fn keep_ways(self: &Arc<Self>, orders: &mpsc::Sender<Ordered>, control: &Control) {
        let mut changes = self.ways.subscribe();
        let mut kept: Vec<(Address, Task)> = Vec::new();
        loop {
            let ways = changes.borrow_and_update().clone();
            kept.retain(|(address, _)| ways.iter().any(|way| way.address.is_at(address)));
            for way in ways {
                if kept.iter().any(|(address, _)| way.address.is_at(address)) {
                    continue;
                }
                let (others, orders, control) = (Arc::clone(self), orders.clone(), control.clone());
                let address = way.address.clone();
                let task = Task::run(async move {
                    tokio::join!(
                        others.hear(&way, &orders),
                        others.announce(&way),
                        others.compare_lists(&way, &control)
                    );
                });
                kept.push((address, task));
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

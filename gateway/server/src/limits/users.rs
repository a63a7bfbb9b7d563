//! How many different users are connected, at 16 bytes a user: texts are kept as keyed hashes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

/// Connections by user. Two users meet in one hash about once in 2^64; then the count is one too low.
#[derive(Debug, Default)]
pub struct Users {
    hasher: RandomState,
    connections: Mutex<HashMap<u64, u32>>,
}

/// One connection of a user, counted until it is dropped.
#[derive(Debug)]
pub struct UserConnection {
    users: Arc<Users>,
    user: u64,
}

impl Users {
    /// Nobody.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Counts a connection of `user`; anonymous connections (an empty name) are nobody's.
    pub fn enter(self: &Arc<Self>, user: &str) -> Option<UserConnection> {
        if user.is_empty() {
            return None;
        }
        let user = self.hasher.hash_one(user);
        *self.connections.lock().entry(user).or_default() += 1;
        Some(UserConnection { users: Arc::clone(self), user })
    }

    /// How many users are connected.
    pub fn count(&self) -> usize {
        self.connections.lock().len()
    }
}

impl Drop for UserConnection {
    fn drop(&mut self) {
        let mut connections = self.users.connections.lock();
        if let Some(count) = connections.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_counts_once_until_the_last_connection_ends() {
        let users = Users::new();
        let held = [users.enter("a"), users.enter("a"), users.enter("b"), users.enter("")];
        assert_eq!(users.count(), 2);
        let [first, second, other, _] = held;
        drop(first);
        assert_eq!(users.count(), 2);
        drop(second);
        assert_eq!(users.count(), 1);
        drop(other);
        assert_eq!(users.count(), 0);
    }
}

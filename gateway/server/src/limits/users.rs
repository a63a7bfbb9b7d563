//! Users and their connections: how many there are, and which of them is the oldest.

use std::collections::VecDeque;
use std::sync::Arc;

use rtgw_model::ConnectionId;

use super::tally::{AtLimit, Counted, Part, Parts, Tally};

/// Who is connected. Users of different tenants are different users, whatever their names; anonymous clients are nobody.
#[derive(Debug, Default)]
pub struct Users {
    connections: Arc<Tally>,
    /// Oldest first; only where the oldest is to be found.
    seats: Parts<Part<VecDeque<ConnectionId>>>,
}

/// A connection in the order of its user's, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    users: Arc<Users>,
    user: u64,
    connection: ConnectionId,
}

impl Users {
    /// Nobody.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Counts a connection of `user`; those of nobody (an empty name) are not counted.
    ///
    /// # Errors
    /// [`AtLimit`] where the user has `most` already.
    pub fn enter(&self, tenant: &str, user: &str, most: u32) -> Result<Option<Counted>, AtLimit> {
        if user.is_empty() {
            return Ok(None);
        }
        self.connections.enter(&(tenant, user), most).map(Some)
    }

    /// Puts a user's connection behind its others. Of more than `most` the oldest loses its seat and must be closed: it is returned.
    pub fn seat(
        self: &Arc<Self>,
        user: &Counted,
        connection: ConnectionId,
        most: u32,
    ) -> (Seat, Option<ConnectionId>) {
        let user = user.key();
        let mut seats = self.seats.lock(user);
        let row = seats.entry(user).or_default();
        row.push_back(connection);
        let oldest = if row.len() > most.max(1) as usize { row.pop_front() } else { None };
        (Seat { users: Arc::clone(self), user, connection }, oldest)
    }

    /// How many users are connected.
    pub fn count(&self) -> usize {
        self.connections.count()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.users.seats.lock(self.user);
        let Some(row) = seats.get_mut(&self.user) else { return };
        // Not there where a newer connection took it.
        if let Some(at) = row.iter().position(|seated| *seated == self.connection) {
            row.remove(at);
        }
        if row.is_empty() {
            seats.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn connection(slot: u32) -> ConnectionId {
        ConnectionId { shard: 0, slot, generation: 0 }
    }

    #[test]
    fn a_user_counts_once_until_the_last_connection_ends() {
        let users = Users::new();
        let enter = |tenant, user| users.enter(tenant, user, u32::MAX).unwrap();
        let held = [enter("", "a"), enter("", "a"), enter("t", "a"), enter("t", "")];
        assert!(held[3].is_none());
        assert_eq!(users.count(), 2);
        let [first, second, other, _] = held;
        drop(first);
        assert_eq!(users.count(), 2);
        drop(second);
        assert_eq!(users.count(), 1);
        drop(other);
        assert_eq!(users.count(), 0);
    }

    #[test]
    fn a_name_and_a_tenant_are_not_mixed_up() {
        let users = Users::new();
        let _held = [users.enter("a", "bc", 1).unwrap(), users.enter("ab", "c", 1).unwrap()];
        assert_eq!(users.count(), 2);
        assert_eq!(users.enter("a", "bc", 1).unwrap_err(), AtLimit);
    }

    #[test]
    fn the_oldest_gives_way_and_who_left_does_not() {
        let users = Users::new();
        let counted = users.enter("", "a", 9).unwrap().unwrap();
        let seat = |slot| users.seat(&counted, connection(slot), 2);
        let (first, none) = seat(1);
        assert_eq!(none, None);
        let (second, none) = seat(2);
        assert_eq!(none, None);
        let (third, oldest) = seat(3);
        assert_eq!(oldest, Some(connection(1)));
        // It is closed some time later, and takes nobody else's seat with it.
        drop(first);
        drop(second);
        let (fourth, none) = seat(4);
        assert_eq!(none, None);
        let (_fifth, oldest) = seat(5);
        assert_eq!(oldest, Some(connection(3)));
        drop((third, fourth));
        drop(_fifth);
        assert_eq!(users.seats.sum(Part::len), 0);
    }
}

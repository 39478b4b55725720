//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::permits::{Permit, Permits};

/// Connections beyond their address's share that may wait for it.
const WAITING: usize = 64;
/// How long they wait: devices give up after 15 s.
const WAIT: Duration = Duration::from_secs(12);

/// The connections there may be.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    all: Arc<Permits>,
    waiting: Arc<Semaphore>,
    shares: Mutex<Shares>,
}

/// What each address may have.
#[derive(Debug)]
struct Shares {
    size: usize,
    pools: HashMap<IpAddr, Weak<Permits>>,
}

/// The right to a connection, given back when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    _all: Permit,
    _address: Option<Permit>,
}

impl ConnectionLimit {
    pub(super) fn new(all: usize, per_address: usize) -> Self {
        Self {
            all: Permits::new(all),
            waiting: Arc::new(Semaphore::new(WAITING)),
            shares: Mutex::new(Shares {
                size: per_address,
                pools: HashMap::new(),
            }),
        }
    }

    /// Changes how many there may be.
    pub(super) fn resize(&self, all: usize, per_address: usize) {
        self.all.resize(all);
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.size = per_address;
        for pool in shares.pools.values().filter_map(Weak::upgrade) {
            pool.resize(per_address);
        }
    }

    /// Waits until there is room for one more connection. Until then the
    /// kernel queues new connections.
    pub(super) async fn room(&self) -> Permit {
        self.all.take().await
    }

    /// Whether there is no room for one more.
    pub(super) fn are_taken(&self) -> bool {
        self.all.try_take().is_none()
    }

    /// A permit for a peer without address.
    pub(super) fn without_address(room: Permit) -> ConnectionPermit {
        ConnectionPermit {
            _all: room,
            _address: None,
        }
    }

    /// A permit for a connection from `address`. While it waits for its
    /// address's share it leaves its room to others. `None`: too many wait, or
    /// it took too long.
    pub(super) async fn claim(&self, room: Permit, address: IpAddr) -> Option<ConnectionPermit> {
        let share = self.share(address);
        if let Some(permit) = share.try_take() {
            return Some(ConnectionPermit {
                _all: room,
                _address: Some(permit),
            });
        }
        drop(room);
        let _place = Arc::clone(&self.waiting).try_acquire_owned().ok()?;
        timeout(WAIT, async {
            let permit = share.take().await;
            ConnectionPermit {
                _all: self.room().await,
                _address: Some(permit),
            }
        })
        .await
        .ok()
    }

    fn share(&self, address: IpAddr) -> Arc<Permits> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let key = household(address);
        if let Some(share) = shares.pools.get(&key).and_then(Weak::upgrade) {
            return share;
        }
        // As many live entries as connections; the dead go here.
        shares.pools.retain(|_, share| share.strong_count() > 0);
        let share = Permits::new(shares.size);
        shares.pools.insert(key, Arc::downgrade(&share));
        share
    }
}

/// The address that is counted: IPv6 hosts choose any address within a /64.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) & (u128::MAX << 64);
            IpAddr::V6(prefix.into())
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_cannot_take_everyones_slots() {
        let slots = ConnectionLimit::new(3, 2);
        let one = address("10.0.0.1");
        let _first = slots.claim(slots.room().await, one).await.unwrap();
        let second = slots.claim(slots.room().await, one).await.unwrap();
        assert!(slots.claim(slots.room().await, one).await.is_none());
        let other = slots.claim(slots.room().await, address("10.0.0.2")).await;
        assert!(other.is_some());
        drop((second, other));
        assert!(slots.claim(slots.room().await, one).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_its_share_gets_it_when_another_ends() {
        let slots = Arc::new(ConnectionLimit::new(4, 1));
        let one = address("10.0.0.1");
        let first = slots.claim(slots.room().await, one).await.unwrap();
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.claim(slots.room().await, one).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_counts_for_addresses_that_have_connections() {
        let slots = ConnectionLimit::new(2, 1);
        let one = address("10.0.0.1");
        let first = slots.claim(slots.room().await, one).await.unwrap();
        assert!(slots.claim(slots.room().await, one).await.is_none());
        slots.resize(3, 2);
        let second = slots.claim(slots.room().await, one).await.unwrap();
        let _third = slots.room().await;
        slots.resize(3, 1);
        drop(first);
        assert!(slots.claim(slots.room().await, one).await.is_none());
        drop(second);
        assert!(slots.claim(slots.room().await, one).await.is_some());
    }

    #[test]
    fn a_64_counts_as_one_client_and_mapped_addresses_as_ipv4() {
        assert_eq!(
            household(address("2001:db8::1")),
            household(address("2001:db8::ffff:1"))
        );
        assert_ne!(
            household(address("2001:db8::1")),
            household(address("2001:db8:0:1::1"))
        );
        assert_eq!(household(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }
}

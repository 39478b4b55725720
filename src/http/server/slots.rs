//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Connections beyond their address's share that may wait for it.
const WAITING: usize = 64;
/// How long they wait: devices give up after 15 s.
const WAIT: Duration = Duration::from_secs(12);

/// The connections there may be.
#[derive(Debug)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    per_address: usize,
    addresses: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

/// The right to a connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _all: OwnedSemaphorePermit,
    _address: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(super) fn new(all: usize, per_address: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all.max(1))),
            waiting: Arc::new(Semaphore::new(WAITING)),
            per_address: per_address.max(1),
            addresses: Mutex::default(),
        }
    }

    /// Waits until there is room for one more connection. Until then the
    /// kernel queues who comes.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        loop {
            // The semaphore is never closed.
            if let Ok(permit) = Arc::clone(&self.all).acquire_owned().await {
                return permit;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Whether there is no room for one more.
    pub(super) fn are_taken(&self) -> bool {
        self.all.available_permits() == 0
    }

    /// A slot for a peer without address.
    pub(super) fn without_address(room: OwnedSemaphorePermit) -> Slot {
        Slot {
            _all: room,
            _address: None,
        }
    }

    /// A slot for a connection from `address`. While it waits for its
    /// address's share it leaves its room to others. `None`: too many wait, or
    /// it took too long.
    pub(super) async fn claim(&self, room: OwnedSemaphorePermit, address: IpAddr) -> Option<Slot> {
        let share = self.share(address);
        if let Ok(permit) = Arc::clone(&share).try_acquire_owned() {
            return Some(Slot {
                _all: room,
                _address: Some(permit),
            });
        }
        drop(room);
        let _place = Arc::clone(&self.waiting).try_acquire_owned().ok()?;
        timeout(WAIT, async {
            let permit = share.acquire_owned().await.ok()?;
            Some(Slot {
                _all: self.room().await,
                _address: Some(permit),
            })
        })
        .await
        .ok()?
    }

    fn share(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let key = household(address);
        if let Some(share) = addresses.get(&key).and_then(Weak::upgrade) {
            return share;
        }
        // As many live entries as connections; the dead go here.
        addresses.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.per_address));
        addresses.insert(key, Arc::downgrade(&share));
        share
    }
}

/// One client's addresses: IPv6 hosts pick their own within a /64.
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
        let slots = Slots::new(3, 2);
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
        let slots = Arc::new(Slots::new(4, 1));
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

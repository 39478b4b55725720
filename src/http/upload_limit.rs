//! Limits the memory for uploads: a total of bytes, first come first served, and
//! few uploads per device, so that a faulty device does not block others. While
//! others wait, uploads slower than 4 KiB/s are ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::server::Connection;
use crate::device::DeviceKey;

/// Memory for the bodies of coredump uploads: of 300 boards with 64 KiB each
/// none waits, and the unit's limit leaves room for the rest of the daemon.
pub const MEMORY: usize = 64 << 20;

/// Uploads of one device at once; a healthy one has a single one.
const PER_DEVICE: usize = 4;
/// Unit of counting, in bytes.
const PIECE: usize = 1024;

/// The memory for uploads.
#[derive(Debug)]
pub struct UploadSlots {
    pieces: usize,
    memory: Arc<Semaphore>,
    devices: Mutex<HashMap<DeviceKey, Weak<Semaphore>>>,
    under_way: Mutex<Vec<Weak<Connection>>>,
}

/// Memory for one upload, released when dropped.
#[derive(Debug)]
pub struct Slot {
    _device: OwnedSemaphorePermit,
    _memory: OwnedSemaphorePermit,
}

impl UploadSlots {
    /// So many bytes at once.
    pub fn new(bytes: usize) -> Self {
        let pieces = (bytes / PIECE).max(1);
        Self {
            pieces,
            memory: Arc::new(Semaphore::new(pieces)),
            devices: Mutex::default(),
            under_way: Mutex::default(),
        }
    }

    /// Whether uploads are waiting, or the next one has to: a waiting upload collects
    /// memory as it becomes free.
    pub fn are_taken(&self) -> bool {
        self.memory.available_permits() == 0
    }

    /// Waits for memory for `bytes`, at most as long as that; `None` if there
    /// was none. One larger than all of it gets all of it. `connection` is the one the body
    /// comes over.
    pub async fn take(
        &self,
        device: &DeviceKey,
        bytes: usize,
        patience: Duration,
        connection: Option<&Arc<Connection>>,
    ) -> Option<Slot> {
        let of_device = self.of(device);
        let pieces = bytes.div_ceil(PIECE).clamp(1, self.pieces);
        let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
        let both = async {
            // A device waiting for its own uploads takes no memory from others.
            let device = of_device.acquire_owned().await.ok()?;
            let memory = Arc::clone(&self.memory);
            Some(Slot {
                _device: device,
                _memory: memory.acquire_many_owned(pieces).await.ok()?,
            })
        };
        let mut both = std::pin::pin!(tokio::time::timeout(patience, both));
        let mut pause = LOOK_EVERY;
        let slot = loop {
            tokio::select! {
                biased;
                slot = &mut both => break slot.ok().flatten()?,
                () = tokio::time::sleep(pause) => {
                    pause = if self.end_slowest() { ENDS_IN } else { LOOK_EVERY };
                }
            }
        };
        if let Some(connection) = connection {
            let mut under_way = lock(&self.under_way);
            under_way.retain(|one| one.strong_count() > 0);
            under_way.push(Arc::downgrade(connection));
        }
        Some(slot)
    }

    fn end_slowest(&self) -> bool {
        let under_way: Vec<_> = lock(&self.under_way)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        Connection::cut_slowest(under_way.iter())
    }

    fn of(&self, device: &DeviceKey) -> Arc<Semaphore> {
        let mut devices = lock(&self.devices);
        if let Some(known) = devices.get(device).and_then(Weak::upgrade) {
            return known;
        }
        // Only those that upload right now are remembered.
        devices.retain(|_, semaphore| semaphore.strong_count() > 0);
        let new = Arc::new(Semaphore::new(PER_DEVICE));
        devices.insert(device.clone(), Arc::downgrade(&new));
        new
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often who waits looks for an upload that hardly moves.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long what came of one that was ended may take to be stored.
const ENDS_IN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(n: usize) -> DeviceKey {
        format!("k{n}").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_takes_its_own_share_and_no_more() {
        let slots = UploadSlots::new((PER_DEVICE + 1) * PIECE);
        let mut held = Vec::new();
        for _ in 0..PER_DEVICE {
            held.push(slots.take(&key(1), PIECE, SECOND, None).await.unwrap());
        }
        assert!(slots.take(&key(1), PIECE, SECOND, None).await.is_none());
        assert!(!slots.are_taken());
        let others = slots.take(&key(2), PIECE, SECOND, None).await.unwrap();
        assert!(slots.are_taken());
        held.pop();
        drop(others);
        assert!(slots.take(&key(1), PIECE, SECOND, None).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_take_as_much_as_they_announce() {
        let slots = UploadSlots::new(10 * PIECE);
        let large = slots.take(&key(1), 8 * PIECE, SECOND, None).await.unwrap();
        let small = slots.take(&key(2), PIECE + 1, SECOND, None).await.unwrap();
        assert!(slots.take(&key(3), 1, SECOND, None).await.is_none());
        drop(small);
        assert!(slots.take(&key(3), 3 * PIECE, SECOND, None).await.is_none());
        drop(large);
        // more than there is: all of it, and nobody beside it
        let all = slots.take(&key(3), usize::MAX, SECOND, None).await.unwrap();
        assert!(slots.take(&key(1), 0, SECOND, None).await.is_none());
        drop(all);
        assert!(slots.take(&key(1), 0, SECOND, None).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_one_that_waits_is_not_overtaken_for_ever() {
        let slots = Arc::new(UploadSlots::new(4 * PIECE));
        let held = slots.take(&key(1), 2 * PIECE, SECOND, None).await.unwrap();
        let large = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.take(&key(2), 4 * PIECE, 60 * SECOND, None).await }
        });
        tokio::task::yield_now().await;
        assert!(slots.are_taken());
        assert!(slots.take(&key(3), PIECE, SECOND, None).await.is_none());
        drop(held);
        assert!(large.await.unwrap().is_some());
        assert!(!slots.are_taken());
    }

    #[tokio::test]
    async fn devices_without_an_upload_are_forgotten() {
        let slots = UploadSlots::new(MEMORY);
        for n in 0..10 {
            slots.take(&key(n), 1, SECOND, None).await.unwrap();
        }
        assert_eq!(slots.devices.lock().unwrap().len(), 1);
    }
}

//! Whose dump may be read into memory now: so many at once in all, and only a
//! few of one device, so that one with a fault does not keep the others waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::device::DeviceKey;

/// Uploads of one device at once; a healthy one has a single one.
const PER_DEVICE: usize = 4;

/// The slots for uploads.
#[derive(Debug)]
pub struct UploadSlots {
    all: Arc<Semaphore>,
    devices: Mutex<HashMap<DeviceKey, Weak<Semaphore>>>,
}

/// A slot; dropped, it is free again.
#[derive(Debug)]
pub struct Slot {
    _device: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl UploadSlots {
    /// As many as `all` at once.
    pub fn new(all: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            devices: Mutex::default(),
        }
    }

    /// Whether the next device has to wait.
    pub fn are_taken(&self) -> bool {
        self.all.available_permits() == 0
    }

    /// Waits for a slot, at most as long as that; `None` if there was none.
    pub async fn take(&self, device: &DeviceKey, patience: Duration) -> Option<Slot> {
        let of_device = self.of(device);
        let both = async {
            // A device that waits for itself takes nothing from the others.
            let device = of_device.acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Slot {
                _device: device,
                _all: all,
            })
        };
        tokio::time::timeout(patience, both).await.ok().flatten()
    }

    fn of(&self, device: &DeviceKey) -> Arc<Semaphore> {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_device_takes_its_own_share_and_no_more() {
        let slots = UploadSlots::new(PER_DEVICE + 1);
        let (faulty, other) = ("k1".parse().unwrap(), "k2".parse().unwrap());
        let second = Duration::from_secs(1);
        let mut held = Vec::new();
        for _ in 0..PER_DEVICE {
            held.push(slots.take(&faulty, second).await.unwrap());
        }
        assert!(slots.take(&faulty, second).await.is_none());
        assert!(!slots.are_taken());
        let others = slots.take(&other, second).await.unwrap();
        assert!(slots.are_taken());
        held.pop();
        drop(others);
        assert!(slots.take(&faulty, second).await.is_some());
    }

    #[tokio::test]
    async fn devices_without_an_upload_are_forgotten() {
        let slots = UploadSlots::new(1);
        for n in 0..10 {
            let key = format!("k{n}").parse().unwrap();
            slots.take(&key, Duration::from_secs(1)).await.unwrap();
        }
        assert_eq!(slots.devices.lock().unwrap().len(), 1);
    }
}

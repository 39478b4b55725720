//! Dumps that are on their way. Until they are judged, nothing else is concluded from what
//! their devices say: who crashed with a build and went back to another one by its
//! bootloader says both with the same request, and the crash is what people have to know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::DeviceKey;

type Counts = HashMap<DeviceKey, usize>;

/// Uploads of dumps under way, by device.
#[derive(Debug, Default)]
pub struct RunningUploads(Arc<Mutex<Counts>>);

/// An upload; it is over when this is dropped.
#[derive(Debug)]
pub struct RunningUpload {
    counts: Arc<Mutex<Counts>>,
    device: DeviceKey,
}

impl RunningUploads {
    /// An upload of a device begins.
    pub fn begin(&self, device: &DeviceKey) -> RunningUpload {
        *lock(&self.0).entry(device.clone()).or_default() += 1;
        RunningUpload {
            counts: Arc::clone(&self.0),
            device: device.clone(),
        }
    }

    /// Whether a device uploads a dump.
    pub fn has(&self, device: &DeviceKey) -> bool {
        lock(&self.0).contains_key(device)
    }
}

impl Drop for RunningUpload {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.device) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.device);
            }
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_uploads_until_the_last_of_its_uploads_is_over() {
        let uploads = RunningUploads::default();
        let device: DeviceKey = "k1".parse().unwrap();
        let one = uploads.begin(&device);
        let two = uploads.begin(&device);
        drop(one);
        assert!(uploads.has(&device));
        drop(two);
        assert!(!uploads.has(&device));
        assert!(lock(&uploads.0).is_empty());
    }
}

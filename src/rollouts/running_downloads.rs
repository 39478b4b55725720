//! Downloads that are under way, so that those of a build can be cut off, and that one which
//! takes long keeps its place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::build_id::BuildId;
use crate::device::DeviceKey;

type Devices = Arc<Mutex<Vec<(BuildId, DeviceKey)>>>;

/// Downloads under way, by build.
#[derive(Debug, Default)]
pub struct RunningDownloads {
    tokens: Mutex<HashMap<BuildId, CancellationToken>>,
    devices: Devices,
}

/// A download; dropped when it ends.
#[derive(Debug)]
pub struct RunningDownload {
    download: (BuildId, DeviceKey),
    devices: Devices,
}

fn locked(devices: &Devices) -> MutexGuard<'_, Vec<(BuildId, DeviceKey)>> {
    devices.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for RunningDownload {
    fn drop(&mut self) {
        let mut devices = locked(&self.devices);
        if let Some(at) = devices.iter().position(|one| *one == self.download) {
            devices.swap_remove(at);
        }
    }
}

impl RunningDownloads {
    /// Cancelled when downloads of this build that began before are to end.
    pub fn of(&self, build: BuildId) -> CancellationToken {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry(build).or_default().child_token()
    }

    /// A device begins to download a build.
    pub fn begins(&self, build: BuildId, device: &DeviceKey) -> RunningDownload {
        let download = (build, device.clone());
        locked(&self.devices).push(download.clone());
        RunningDownload {
            download,
            devices: Arc::clone(&self.devices),
        }
    }

    /// Whether a device downloads a build.
    pub fn has(&self, build: BuildId, device: &DeviceKey) -> bool {
        let devices = locked(&self.devices);
        let mut devices = devices.iter();
        devices.any(|(of, by)| *of == build && by == device)
    }

    /// Ends the downloads of a build.
    pub fn cut(&self, build: BuildId) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = tokens.remove(&build) {
            token.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    #[test]
    fn only_downloads_of_the_build_that_began_before_end() {
        let build = |number: u8| BuildId::from(Sha256::of(&[number]));
        let downloads = RunningDownloads::default();
        let (bad, good) = (downloads.of(build(1)), downloads.of(build(2)));
        downloads.cut(build(1));
        assert!(bad.is_cancelled() && !good.is_cancelled());
        assert!(!downloads.of(build(1)).is_cancelled());
    }

    #[test]
    fn a_download_is_under_way_until_its_last_part_ends() {
        let downloads = RunningDownloads::default();
        let (build, device) = (BuildId::from(Sha256::of(b"1")), "kitchen1".parse().unwrap());
        let (first, second) = (
            downloads.begins(build, &device),
            downloads.begins(build, &device),
        );
        drop(first);
        assert!(downloads.has(build, &device));
        drop(second);
        assert!(!downloads.has(build, &device));
    }
}

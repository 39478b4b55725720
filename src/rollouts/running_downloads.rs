//! Downloads that are under way, so that those of a build can be cut off.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::build_id::BuildId;

/// Downloads under way, by build.
#[derive(Debug, Default)]
pub struct RunningDownloads(Mutex<HashMap<BuildId, CancellationToken>>);

impl RunningDownloads {
    /// Cancelled when downloads of this build that began before are to end.
    pub fn of(&self, build: BuildId) -> CancellationToken {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry(build).or_default().child_token()
    }

    /// Ends the downloads of a build.
    pub fn cut(&self, build: BuildId) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
}

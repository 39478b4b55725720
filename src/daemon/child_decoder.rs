//! Decodes in a child process of this program, so that a hostile dump or ELF
//! costs one report and never the daemon.

use std::path::{Path, PathBuf};

use crate::decode::child;
use crate::journal::chain;
use crate::worker::{DecodeFailed, Decoder};

/// The decoder that the daemon uses.
#[derive(Debug, Default)]
pub(super) struct ChildDecoder(child::Decoder);

impl Decoder for ChildDecoder {
    async fn decode<'a>(
        &'a self,
        dump: &'a Path,
        elf: Option<&'a Path>,
    ) -> Result<Vec<u8>, DecodeFailed> {
        let elfs: Vec<PathBuf> = elf.map(Path::to_owned).into_iter().collect();
        let failed = |error: &dyn std::error::Error| DecodeFailed(chain(error));
        let report = self.0.decode(dump, &elfs).await.map_err(|e| failed(&e))?;
        serde_json::to_vec_pretty(&report).map_err(|e| failed(&e))
    }
}

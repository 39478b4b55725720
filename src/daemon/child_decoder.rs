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
        let report = self.0.decode_somehow(dump, &elfs).await.map_err(|error| {
            let why = chain(&error);
            match error {
                child::Failure::Start(_) => DecodeFailed::NotStarted(why),
                _ => DecodeFailed::Failed(why),
            }
        })?;
        serde_json::to_vec_pretty(&report).map_err(|error| DecodeFailed::Failed(chain(&error)))
    }
}

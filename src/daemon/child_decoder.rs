//! Decodes for the worker.

use std::path::Path;

use crate::decode::{self, Options};
use crate::worker::{DecodeFailed, Decoder};

/// The decoder that the daemon uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChildDecoder;

impl Decoder for ChildDecoder {
    async fn decode<'a>(
        &'a self,
        dump: &'a Path,
        _elf: Option<&'a Path>,
    ) -> Result<Vec<u8>, DecodeFailed> {
        let bytes = std::fs::read(dump).map_err(|error| DecodeFailed(error.to_string()))?;
        let report = decode::decode(&bytes, None, Options::default());
        serde_json::to_vec(&report).map_err(|error| DecodeFailed(error.to_string()))
    }
}

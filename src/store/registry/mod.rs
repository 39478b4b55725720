//! Who and what is registered: gateway, models, devices, tokens. Each is one
//! JSON file under `state/`, replaced as a whole.

pub mod activity;
mod build_ref;
pub mod devices;
mod file;
mod full_disk;
pub mod gateway;
mod memory;
pub mod models;
pub mod tokens;

pub use build_ref::BuildRef;
pub use devices::{Device, Devices};
pub use gateway::Gateway;
pub use models::{Activate, Block, Model, Models};
pub use tokens::{Credential, Role, Tokens};

use std::path::Path;

pub use file::StateFile;

use super::Result;

/// Room for what may be noted of devices while the disk is full: hundreds of boards that a
/// fleet token registers.
const NOTED_LATER: u64 = 256 << 10;

/// All registers, read from `state/`.
#[derive(Debug)]
pub struct Registry {
    pub gateway: StateFile<Gateway>,
    pub models: StateFile<Models>,
    pub devices: StateFile<Devices>,
    pub tokens: StateFile<Tokens>,
}

impl Registry {
    /// Reads the registers; a file that does not parse is set aside and
    /// journalled, and its copy takes its place (see [`StateFile::open`]).
    ///
    /// # Errors
    /// [`super::Error::Io`].
    pub fn open(state: &Path) -> Result<Self> {
        Ok(Self {
            gateway: StateFile::open(state, "gateway.json")?,
            models: StateFile::open(state, "models.json")?,
            devices: StateFile::open(state, "devices.json")?.growing_by(NOTED_LATER),
            tokens: StateFile::open(state, "tokens.json")?,
        })
    }
}

//! Paths of the control socket, the data directory and its folders.

use std::env;
use std::path::{Path, PathBuf};

use super::args::Global;
use crate::config::Config;

const SOCKET: &str = "control.sock";
/// Where the package's service has its socket.
const USUAL_FOLDER: &str = "/run/espgate";
/// Where the package's service keeps its data.
const USUAL_DATA: &str = "/var/lib/espgate";

/// The control sockets to try, in order.
pub(super) fn sockets(global: &Global) -> Vec<PathBuf> {
    if let Some(socket) = &global.socket {
        return vec![socket.clone()];
    }
    let mut sockets = Vec::new();
    if let Some(folder) = env::var_os("RUNTIME_DIRECTORY").filter(|folder| !folder.is_empty()) {
        sockets.push(Path::new(&folder).join(SOCKET));
    }
    let told = told_data_dir(global);
    let is_told = told.is_some();
    if let Some(folder) = told {
        sockets.push(folder.join("run").join(SOCKET));
    }
    sockets.push(Path::new(USUAL_FOLDER).join(SOCKET));
    if !is_told {
        // Started by hand in this folder, with no configuration at all.
        sockets.push(Path::new("espgate-data/run").join(SOCKET));
    }
    sockets
}

/// The configuration that the daemon would use; the default if it cannot be read.
pub(super) fn configuration(global: &Global) -> Config {
    let read = global.options().read();
    read.ok()
        .flatten()
        .map(|(_, loaded)| loaded.config)
        .unwrap_or_default()
}

fn told_data_dir(global: &Global) -> Option<PathBuf> {
    let configured = || configuration(global).data_dir;
    global.data_dir.clone().or_else(configured)
}

/// The data directory: as told, as configured, the service's, or one here.
pub(super) fn data_dir(global: &Global) -> PathBuf {
    let config = configuration(global);
    let chosen = global.options().data_dir(Some(&config));
    let is_told = global.data_dir.is_some() || config.data_dir.is_some();
    if !is_told && !chosen.exists() && Path::new(USUAL_DATA).exists() {
        return PathBuf::from(USUAL_DATA);
    }
    chosen
}

/// Where the dumps are: by the environment, as configured, or below the data.
pub(super) fn coredumps(global: &Global, config: &Config) -> PathBuf {
    folder(
        global,
        "COREDUMPS_DIR",
        config.coredumps.dir.as_deref(),
        "coredumps",
    )
}

/// Where the firmware is, likewise.
pub(super) fn assets(global: &Global, config: &Config) -> PathBuf {
    folder(
        global,
        "ASSETS_DIR",
        config.firmware.dir.as_deref(),
        "assets",
    )
}

fn folder(global: &Global, variable: &str, configured: Option<&Path>, name: &str) -> PathBuf {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| configured.map(Path::to_owned))
        .unwrap_or_else(|| data_dir(global).join(name))
}

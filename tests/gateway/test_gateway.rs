//! A daemon with a model, a device and tokens.

use serde_json::json;

use crate::daemon::{Answer, Daemon, Start};
use crate::dumps::{DumpSpec, xtensa};

pub(crate) struct TestGateway {
    pub(crate) daemon: Daemon,
    /// Of device `k1`, model `lamp`.
    pub(crate) device: String,
    /// Of CI, for any model.
    pub(crate) pipeline: String,
}

impl TestGateway {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    pub(crate) fn with(config: &str) -> Self {
        Self::on(Start::new(config).start())
    }

    pub(crate) fn on(daemon: Daemon) -> Self {
        daemon.manage("PUT /api/models/lamp", &json!({}));
        let made = daemon.manage(
            "POST /api/devices",
            &json!({ "device_key": "k1", "model": "lamp" }),
        );
        let device = made["token"].as_str().unwrap().to_owned();
        let pipeline = token(&daemon, "ci", "pipeline", None);
        Self {
            daemon,
            device,
            pipeline,
        }
    }

    /// A request of device `k1`.
    pub(crate) fn device(&self, head: &str, body: &[u8]) -> Answer {
        let head = format!("{head}\r\nAuthorization: Bearer {}", self.device);
        self.daemon.request(&head, body)
    }

    /// A request of CI.
    pub(crate) fn ci(&self, head: &str, body: &[u8]) -> Answer {
        let head = format!("{head}\r\nAuthorization: Bearer {}", self.pipeline);
        self.daemon.request(&head, body)
    }

    /// CI uploads firmware for `lamp`.
    pub(crate) fn upload(&self, firmware: &[u8]) -> Answer {
        self.ci("POST /api/pipeline/models/lamp/firmware", firmware)
    }

    /// Device `k1` posts a dump.
    pub(crate) fn post(&self, dump: &[u8]) -> Answer {
        self.device(
            "POST /api/iot/coredump?chip=esp32&firmware_version=1.2.3",
            dump,
        )
    }
}

/// Makes a token.
pub(crate) fn token(daemon: &Daemon, name: &str, role: &str, model: Option<&str>) -> String {
    let made = daemon.manage(
        "POST /api/tokens",
        &json!({ "name": name, "role": role, "model": model }),
    );
    made["token"].as_str().unwrap().to_owned()
}

/// A whole dump; those with another `salt` differ in memory, not in the crash.
pub(crate) fn dump(salt: u8) -> Vec<u8> {
    salted(xtensa(), salt).image(0x0102, false)
}

pub(crate) fn salted(mut spec: DumpSpec, salt: u8) -> DumpSpec {
    spec.segments.push((0x3ffc_0000, vec![salt; 16]));
    spec
}

//! The JSON of the store: sidecars and registers, which people and newer releases change.

use std::fmt::Debug;

use espgate::serial::state::PortsState;
use espgate::store::coredumps::sidecar::Sidecar;
use espgate::store::last_shutdown::RunRecord;
use espgate::store::registry::{Devices, Gateway, Models, Tokens};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A file's contents, read as each of the files that there are.
pub fn json(bytes: &[u8]) {
    if let Some(sidecar) = kept::<Sidecar>(bytes) {
        let again: Sidecar = serde_json::from_slice(&sidecar.to_bytes()).expect("what was written");
        assert_eq!(sidecar, again);
    }
    if let Some(devices) = kept::<Devices>(bytes) {
        for (key, device) in &devices.devices {
            for token in &device.tokens {
                let (_, _, found) = devices.by_token(&token.id).expect("a token that there is");
                assert_eq!(found.id, token.id);
            }
            if let Some(model) = &device.model {
                assert!(devices.of_model(model).any(|(other, _)| other == key));
            }
        }
    }
    if let Some(models) = kept::<Models>(bytes) {
        for model in models.models.values() {
            let _ = model.active_id().map(|build| model.is_blocked(build));
        }
    }
    if let Some(tokens) = kept::<Tokens>(bytes) {
        for token in tokens.tokens.values() {
            let (_, found) = tokens
                .by_id(&token.credential.id)
                .expect("a token that there is");
            assert_eq!(found.credential.id, token.credential.id);
        }
    }
    if let Some(gateway) = kept::<Gateway>(bytes) {
        for boot in gateway.boots.keys() {
            for since in [0, 1 << 40, u64::MAX] {
                let _ = gateway.time_of(boot, since);
            }
        }
    }
    kept::<PortsState>(bytes);
    kept::<RunRecord>(bytes);
}

/// What is read from `bytes`, if that is a file of this kind: writing it and reading it
/// again gives the same, but for fractions, which may be rounded.
fn kept<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec_pretty(&read).expect("what was read can be written");
    let value: Value = serde_json::from_slice(&written).expect("what was written is JSON");
    if has_fraction(&value) {
        return None;
    }
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(read, again);
    Some(read)
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        _ => false,
    }
}

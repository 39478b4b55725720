//! The gateway itself: its id, and the machine it was last on.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `gateway.json`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Gateway {
    pub schema: u32,
    /// A UUID, made at the first start.
    pub gateway_id: String,
    /// `/etc/machine-id` of the machine; another one with the same gateway id
    /// is a cloned card or a restored backup.
    pub machine_id: String,
    pub created_at: String,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

//! Request and response bodies of the HTTP API: the types that `http` writes and
//! `cli` reads. `docs/api.md` is made from them.
//!
//! The JSON may only grow. Responses of other releases can be read: unknown fields
//! are ignored, missing fields have defaults, and unknown enumeration values are
//! kept ([`OpenEnum`]).

pub mod builds;
pub mod coredumps;
pub mod crashes;
pub mod devices;
pub mod errors;
pub mod firmware;
pub mod models;
pub mod ports;
pub mod rollouts;
pub mod status;
pub mod tls;
pub mod tokens;

pub use crate::store::open_enum::OpenEnum;

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    /// Reads what is answered, as `cli` does; and what it would be written as.
    fn through<T: DeserializeOwned + Serialize>(answer: &Value) -> Value {
        let read: T = serde_json::from_slice(answer.to_string().as_bytes()).unwrap();
        serde_json::to_value(read).unwrap()
    }

    #[test]
    fn words_and_fields_of_a_newer_release_are_no_trouble() {
        let status = json!({
            "more": {"x": 1}, "ports": [{"state": "on-fire", "why": "odd", "more": [1]}],
            "last_intake": {"source": "lora"}, "last_bad_end": {"how": "eaten"},
        });
        let read = through::<status::Status>(&status);
        for place in [
            "/ports/0/state",
            "/ports/0/why",
            "/last_intake/source",
            "/last_bad_end/how",
        ] {
            assert_eq!(read.pointer(place), status.pointer(place), "{place}");
        }
        let tokens = json!({ "tokens": [{"role": "analyst", "more": 1}] });
        let read = through::<tokens::List>(&tokens);
        assert_eq!(read["tokens"][0]["role"], "analyst");
        let models = json!({ "models": [{"activate": "rollout", "state": "waiting"}] });
        let read = through::<models::List>(&models);
        assert_eq!(read["models"][0]["activate"], "rollout");
        let read = through::<tls::Shown>(&json!({"source": "acme", "server": {}}));
        assert_eq!(read["source"], "acme");
        let firmware = json!({ "firmware": [{"kind": "delta", "more": 1}] });
        let read = through::<firmware::List>(&firmware);
        assert_eq!(read["firmware"][0]["kind"], "delta");
    }

    #[test]
    fn fields_that_an_older_release_does_not_know_have_their_defaults() {
        let empty = json!({});
        assert_eq!(through::<status::Status>(&empty)["uptime_s"], Value::Null);
        assert_eq!(through::<devices::List>(&empty)["devices"], json!([]));
        assert_eq!(through::<ports::Read>(&empty)["coredump_id"], Value::Null);
        let refused = through::<errors::ErrorBody>(&json!({"error": "no"}));
        assert_eq!(refused, json!({"error": "no"}));
    }
}

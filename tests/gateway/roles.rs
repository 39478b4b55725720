//! Every route against every role.

use espgate::http::routes::routes;
use espgate::identity::RequiredRole;
use serde_json::{Value, json};

use crate::test_gateway::{TestGateway, token};

/// Who asks, with which token, and as which board where a board asks.
struct Asking {
    who: &'static str,
    token: String,
    key: &'static str,
}

impl Asking {
    fn may(&self, need: RequiredRole, path: &str) -> bool {
        match (need, self.who) {
            (RequiredRole::Public, _) | (RequiredRole::Device, "device") => true,
            // symbols are not for whoever has the token of all boards
            (RequiredRole::Device, "fleet") => !path.ends_with(".zip"),
            // the token does not speak for these: their dumps are kept all the same
            (RequiredRole::Device, who) if who.starts_with("fleet, ") => {
                path == "/api/iot/coredump"
            }
            (RequiredRole::Pipeline, who) => matches!(who, "pipeline" | "technician"),
            (RequiredRole::Viewer, who) => matches!(who, "viewer" | "technician"),
            (RequiredRole::Technician, who) => who == "technician",
            (RequiredRole::Device | RequiredRole::Root, _) => false,
        }
    }
}

#[test]
fn every_route_asks_every_caller_for_its_role() {
    let site = TestGateway::with("[auth.fleet]\nmax_devices = 1\n");
    let daemon = &site.daemon;
    daemon.manage("PUT /api/models/pump", &json!({}));
    daemon.manage("PUT /api/devices/p1", &json!({ "model": "pump" }));
    let fleet = token(daemon, "f", "fleet", Some("lamp"));
    let asking = |who, token: &str, key| Asking {
        who,
        token: token.to_owned(),
        key,
    };
    let callers = [
        asking("nobody", "", "k2"),
        asking("device", &site.device, "k1"),
        // these in this order: k1 has used its own token, k2 is the one board there may be
        asking("fleet", &fleet, "k2"),
        asking("fleet, a board with a token of its own", &fleet, "k1"),
        asking("fleet, a board of another model", &fleet, "p1"),
        asking("fleet, one board too many", &fleet, "k3"),
        asking("pipeline", &site.pipeline, "k2"),
        asking("viewer", &token(daemon, "v", "viewer", None), "k2"),
        asking("technician", &token(daemon, "t", "technician", None), "k2"),
    ];
    let mut checked = 0;
    for route in routes() {
        let path = route
            .path
            .replace("{code}", "nosuchmodel")
            .replace("{id}", "0123456789ab")
            .replace("{key}", "nosuchdevice")
            .replace("{version}", "9.9")
            .replace("{name}", "nosuchname")
            .replace("{command}", "pause");
        for caller in &callers {
            let Asking { who, token, key } = caller;
            let allowed = caller.may(route.need, route.path);
            let query = match route.need {
                RequiredRole::Device => format!("?chip=esp32&firmware_version=1&device_key={key}"),
                _ => String::new(),
            };
            let mut head = format!("{} {path}{query}", route.method);
            if !token.is_empty() {
                head.push_str(&format!("\r\nAuthorization: Bearer {token}"));
            }
            let answer = daemon.request(&head, b"");
            let refused = matches!(answer.status, 401 | 403);
            assert_eq!(!refused, allowed, "{who} {head}: {}", answer.status);
            if !allowed {
                let expected = if token.is_empty() { 401 } else { 403 };
                assert_eq!(answer.status, expected, "{who} {head}");
            }
            checked += 1;
        }
    }
    assert!(checked > 300, "{checked}");
}

#[test]
fn a_pipeline_token_of_one_model_is_refused_for_another() {
    let site = TestGateway::new();
    site.daemon.manage("PUT /api/models/other", &json!({}));
    let own = token(&site.daemon, "own", "pipeline", Some("other"));
    let ask = |model: &str| {
        let head = format!(
            "GET /api/pipeline/models/{model}/firmware-version\r\nAuthorization: Bearer {own}"
        );
        site.daemon.request(&head, b"").status
    };
    assert_eq!(ask("other"), 200);
    assert_eq!(ask("lamp"), 403);
}

#[test]
fn a_technician_imports_devices_and_only_root_gives_them_tokens() {
    let site = TestGateway::new();
    let technician = token(&site.daemon, "t", "technician", None);
    let head = format!(
        "POST /api/import/devices\r\nContent-Type: application/json\r\nAuthorization: Bearer {technician}"
    );
    let mut import = json!({ "csv": "key,model\nk7,lamp\n" });
    import["tokens"] = json!([{ "device_key": "k7", "id": "7k2m9qxa", "sha256": "0".repeat(64) }]);
    let ask = |head: &str, import: &Value| site.daemon.request(head, import.to_string().as_bytes());
    assert_eq!(ask(&head, &import).status, 403);
    assert_eq!(site.daemon.control("GET /api/devices/k7", b"").status, 404);
    let line = "POST /api/import/devices";
    let answer = site.daemon.control(line, import.to_string().as_bytes());
    assert_eq!(answer.json()["added"], json!(["k7"]), "{answer:?}");
    import["tokens"] = json!([]);
    assert_eq!(ask(&head, &import).json()["unchanged"], 1);
}

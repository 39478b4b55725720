//! Every route against every role.

use espgate::http::routes::routes;
use espgate::identity::RequiredRole;

use crate::test_gateway::{TestGateway, token};

#[test]
fn every_route_asks_every_caller_for_its_role() {
    let site = TestGateway::new();
    let daemon = &site.daemon;
    let callers = [
        ("nobody", String::new()),
        ("device", site.device.clone()),
        ("fleet", token(daemon, "f", "fleet", Some("lamp"))),
        ("pipeline", site.pipeline.clone()),
        ("viewer", token(daemon, "v", "viewer", None)),
        ("technician", token(daemon, "t", "technician", None)),
    ];
    let mut checked = 0;
    for route in routes() {
        let path = route
            .path
            .replace("{code}", "nosuchmodel")
            .replace("{id}", "0123456789ab")
            .replace("{key}", "nosuchdevice")
            .replace("{version}", "9.9")
            .replace("{name}", "nosuchname");
        for (caller, token) in &callers {
            let allowed = match route.need {
                RequiredRole::Public => true,
                RequiredRole::Device if route.path.ends_with(".zip") => *caller == "device",
                RequiredRole::Device => matches!(*caller, "device" | "fleet"),
                RequiredRole::Pipeline => matches!(*caller, "pipeline" | "technician"),
                RequiredRole::Viewer => matches!(*caller, "viewer" | "technician"),
                RequiredRole::Technician => *caller == "technician",
                RequiredRole::Root => false,
            };
            // k1 has a token of its own: a fleet's does not speak for it
            let query = match route.need {
                RequiredRole::Device => "?chip=esp32&firmware_version=1&device_key=k2",
                _ => "",
            };
            let mut head = format!("{} {path}{query}", route.method);
            if !token.is_empty() {
                head.push_str(&format!("\r\nAuthorization: Bearer {token}"));
            }
            let answer = daemon.request(&head, b"");
            let refused = matches!(answer.status, 401 | 403);
            assert_eq!(!refused, allowed, "{caller} {head}: {}", answer.status);
            if !allowed {
                let expected = if token.is_empty() { 401 } else { 403 };
                assert_eq!(answer.status, expected, "{caller} {head}");
            }
            checked += 1;
        }
    }
    assert!(checked > 200, "{checked}");
}

#[test]
fn a_pipeline_token_of_one_model_is_refused_for_another() {
    let site = TestGateway::new();
    site.daemon
        .manage("PUT /api/models/other", &serde_json::json!({}));
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

//! docs/api.md: an introduction, then topic by topic the routes and the fields
//! of what they carry.

use std::fmt::Write as _;

use espgate::http::routes::{Route, routes};
use espgate::identity::RequiredRole;

use super::entry::{Body, Entry};
use super::source::{Type, types};
use super::topics::{TOPICS, Topic};

/// The whole page.
pub(crate) fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    let routes = routes();
    for topic in TOPICS {
        // Writing to a string cannot fail.
        let _ = write!(page, "\n## {}\n\n{}\n", topic.title, topic.about);
        for entry in (topic.entries)() {
            let route = routes
                .iter()
                .find(|route| entry.is(&route.method, route.path));
            describe(&mut page, &entry, route);
        }
        for found in of(topic) {
            tabulate(&mut page, &found);
        }
    }
    page
}

fn describe(page: &mut String, entry: &Entry, route: Option<&Route>) {
    let role = route.map_or("", |route| role(route.need));
    let _ = write!(
        page,
        "\n### `{}`\n\n{} Role: {role}.\n",
        entry.route, entry.does
    );
    if !entry.query.is_empty() {
        page.push_str("\nQuery, all optional unless it says otherwise:\n\n");
        for (name, meaning) in entry.query {
            let _ = writeln!(page, "- `{name}`: {meaning}");
        }
    }
    match &entry.takes {
        Body::Nothing => {}
        body => show(page, "Takes", body),
    }
    let status = entry.status;
    match &entry.answers {
        Body::Nothing => {
            let _ = write!(page, "\nAnswers {status} without a body.\n");
        }
        body => show(page, &format!("Answers {status} with"), body),
    }
    if !entry.errors.is_empty() {
        let errors: Vec<String> = entry
            .errors
            .iter()
            .map(|(status, when)| format!("{status} {when}"))
            .collect();
        let _ = write!(page, "\nErrors: {}.\n", errors.join("; "));
    }
}

fn show(page: &mut String, how: &str, body: &Body) {
    let _ = match body {
        Body::Nothing => Ok(()),
        Body::Words(what) => write!(page, "\n{how} {what}.\n"),
        Body::Json(of, example) => {
            let example = serde_json::to_string_pretty(example).unwrap_or_default();
            write!(page, "\n{how} `{of}`:\n\n```json\n{example}\n```\n")
        }
    };
}

fn tabulate(page: &mut String, of: &Type) {
    let _ = write!(page, "\n#### `{}`\n\n{}\n\n", of.name, of.doc);
    if !of.words.is_empty() {
        for (word, meaning) in &of.words {
            let _ = match meaning.as_str() {
                "" => writeln!(page, "- `{word}`"),
                meaning => writeln!(page, "- `{word}`: {meaning}"),
            };
        }
        return;
    }
    page.push_str("| field | kind | meaning |\n|--|--|--|\n");
    for field in &of.fields {
        let meaning = field.doc.replace('|', "\\|");
        let _ = writeln!(page, "| {} | {} | {meaning} |", field.name, field.kind);
    }
}

/// The types of a topic: all of its own file, and those it takes from others.
fn of(topic: &Topic) -> Vec<Type> {
    let mut found = types(topic.source);
    for (text, names) in topic.others {
        let others = types(text).into_iter();
        found.extend(others.filter(|other| names.contains(&other.name.as_str())));
    }
    found
}

fn role(need: RequiredRole) -> &'static str {
    match need {
        RequiredRole::Public => "none",
        RequiredRole::Device => "device",
        RequiredRole::Pipeline => "pipeline (of this model), or technician",
        RequiredRole::Viewer => "viewer, or technician",
        RequiredRole::Technician => "technician",
        RequiredRole::Root => "root, at the control socket",
    }
}

const INTRODUCTION: &str = r#"# The HTTP API

Made by `cargo run --example api_reference -- docs/api.md` from `src/api`,
`src/http/routes.rs` and `examples/api_reference`; a test compares them.

The same routes are served over HTTPS (port 8443) and at the control socket
(`control.sock` in `/run/espgate`, or in `run` of the data directory), which
the `espgate` commands use:

    curl --cacert ca.pem -H "Authorization: Bearer $TOKEN" https://espgate.internal:8443/api/status
    curl --unix-socket /run/espgate/control.sock http://control/api/status

*Roles.* Over HTTPS the role is the token's: `espgate devices add` creates tokens of
devices, `espgate tokens add --role ..` all others. With
`[auth] devices = "open"` a device needs no token, only `?device_key=KEY`. At
the control socket a member of its group is a technician, and root (or the
daemon's own user) is root.

*Bodies* are JSON unless stated otherwise. Fields and enumeration values may be
added: ignore unknown fields, and accept unknown values. Lists have a
`next_cursor`. Times are RFC 3339 in UTC, hashes lower-case hex.

*Errors* have a status of 400 or more and this body; with 401 only `error`:

```json
{
  "error": "Coredump 0123456789ab was not found",
  "details": {
    "message": "Not found"
  },
  "code": "RECORD_NOT_FOUND",
  "correlationId": "4b4f3a2e-6f64-4d0c-9df0-0a4f3d1f3a55"
}
```

Any route may answer: 401 without a valid token (except public routes), 403
`AUTHORIZATION_FAILED` for another role, 404 `RECORD_NOT_FOUND` for an unknown
path, 405 `METHOD_NOT_ALLOWED`, 408 `REQUEST_TIMEOUT`, 414 and 431 for
a request line or headers that are too long, 500 `PROCESSING_ERROR` (the cause is
in the journal under `CORRELATION_ID=`), 503 `SERVICE_UNAVAILABLE` while the daemon
stops. 400 is `VALIDATION_FAILED`, 409 `CONFLICT`, 507 `INSUFFICIENT_STORAGE`.
"#;

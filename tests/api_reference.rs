//! docs/api.md is what the types and routes say, and says it of all of them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../examples/api_reference/bodies.rs"]
mod bodies;
#[path = "../examples/api_reference/entry.rs"]
mod entry;
#[path = "../examples/api_reference/page.rs"]
mod page;
#[path = "../examples/api_reference/source.rs"]
mod source;
#[path = "../examples/api_reference/topics.rs"]
mod topics;

use espgate::http::routes::routes;
use serde_json::Value;

use entry::{Body, Entry};
use topics::TOPICS;

fn entries() -> Vec<Entry> {
    TOPICS.iter().flat_map(|topic| (topic.entries)()).collect()
}

#[test]
fn the_page_is_current() {
    let (kept, made) = (include_str!("../docs/api.md"), page::page());
    let differs = kept
        .lines()
        .zip(made.lines())
        .find(|(kept, made)| kept != made);
    let advice = "cargo run --example api_reference -- docs/api.md";
    assert_eq!(differs, None, "{advice}");
    assert!(kept == made, "{advice}");
}

#[test]
fn every_route_is_described_once_and_nothing_else_is() {
    let entries = entries();
    for route in routes() {
        let count = entries
            .iter()
            .filter(|entry| entry.is(&route.method, route.path))
            .count();
        assert_eq!(count, 1, "{} {}", route.method, route.path);
    }
    assert_eq!(entries.len(), routes().len());
}

#[test]
fn the_examples_have_the_fields_that_a_daemon_answered_with() {
    let mut checked = 0;
    for line in include_str!("data/api_bodies.jsonl").lines() {
        let answer: Value = serde_json::from_str(line).unwrap();
        let request = answer["request"].as_str().unwrap();
        if answer["status"].as_u64().unwrap() >= 400 {
            continue;
        }
        let entry = entries().into_iter().find(|entry| fits(entry, request));
        let entry = entry.unwrap_or_else(|| panic!("{request} is not described"));
        assert_eq!(answer["status"], entry.status, "{request}");
        let Body::Json(_, example) = &entry.answers else {
            panic!("{request} is described without a body")
        };
        let missing = missing(&answer["body"], example);
        assert_eq!(missing, Vec::<String>::new(), "{request}");
        checked += 1;
    }
    assert!(checked > 30, "{checked}");
}

/// Whether a request is of this route; what stands in braces fits anything.
fn fits(entry: &Entry, request: &str) -> bool {
    let parts = |text: &str| -> Vec<String> {
        let text = text.split('?').next().unwrap();
        text.split(['/', ' ']).map(str::to_owned).collect()
    };
    let (route, request) = (parts(entry.route), parts(request));
    let same = |(route, part): (&String, &String)| route == part || route.starts_with('{');
    route.len() == request.len() && route.iter().zip(&request).all(same)
}

/// Fields of `found` that `example` lacks. An answer that a device got only
/// when its dump was held already has one more.
fn missing(found: &Value, example: &Value) -> Vec<String> {
    match (found, example) {
        (Value::Object(found), Value::Object(example)) => found
            .iter()
            .filter(|(name, _)| name.as_str() != "kept")
            .flat_map(|(name, found)| match example.get(name) {
                Some(example) => missing(found, example),
                None => vec![name.clone()],
            })
            .collect(),
        (Value::Array(found), Value::Array(example)) => {
            let both = found.iter().zip(example);
            both.flat_map(|(found, example)| missing(found, example))
                .collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn a_source_file_is_read_as_serde_would_write_it() {
    let text = r#"
/// A thing
/// in two lines.
#[derive(Debug)]
#[serde(default)]
pub struct Thing {
    /// Its name.
    #[serde(rename = "theName", skip_serializing_if = "Option::is_none")]
    pub the_name: Option<String>,
    #[serde(
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub sizes: Option<Option<Vec<u64>>>,
    #[serde(flatten)]
    pub other: Other,
}

impl Thing {
    pub fn new() -> Self {
        Self {
            pub_count: 1,
        }
    }
}

#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// First.
    OneTwo,
    Three,
}

#[cfg(test)]
pub struct Hidden {
    pub x: u8,
}
"#;
    let found = source::types(text);
    let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["Thing", "Word"]);
    assert_eq!(found[0].doc, "A thing in two lines.");
    let fields = found[0].fields.iter();
    let fields: Vec<_> = fields
        .map(|field| (field.name.as_str(), field.kind.as_str(), field.doc.as_str()))
        .collect();
    assert_eq!(
        fields,
        [
            ("`theName`", "text, or absent", "Its name."),
            ("`sizes`", "list of number or `null`, or absent", ""),
            ("...", "fields of `Other`", ""),
        ]
    );
    let words = [("one-two", "First."), ("three", "")];
    let words = words.map(|(word, doc)| (word.to_owned(), doc.to_owned()));
    assert_eq!(found[1].words, words);
}

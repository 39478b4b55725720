//! Modules depend downward only: a module uses its own topic and lower layers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first, as in `src/lib.rs`.
const LAYERS: [&[&str]; 6] = [
    &["build_id", "device", "digest", "printable"],
    &[
        "reader",
        "coredump",
        "bundle",
        "esp",
        "bootloader",
        "console",
        "signature",
    ],
    &[
        "config", "journal", "clock", "identity", "metrics", "store", "decode", "api",
    ],
    &[
        "firmware", "fleet", "crashes", "rollouts", "ingest", "worker",
    ],
    &["http", "serial", "systemd"],
    &["daemon", "cli"],
];

/// Within one layer, who may use whom: a sibling's public face, in one direction.
const SIBLINGS: [(&str, &str); 26] = [
    ("build_id", "digest"),
    ("device", "digest"),
    ("coredump", "reader"),
    ("bundle", "esp"),
    ("bundle", "reader"),
    ("esp", "reader"),
    ("bootloader", "reader"),
    ("coredump", "console"),
    ("console", "reader"),
    ("journal", "clock"),
    ("store", "clock"),
    ("store", "config"),
    ("store", "journal"),
    ("identity", "store"),
    ("identity", "clock"),
    ("decode", "clock"),
    ("api", "store"),
    ("firmware", "rollouts"),
    ("rollouts", "fleet"),
    ("rollouts", "crashes"),
    ("ingest", "fleet"),
    ("ingest", "crashes"),
    ("worker", "crashes"),
    ("worker", "ingest"),
    ("http", "serial"),
    ("cli", "daemon"),
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The first path segments after `crate::`, also of `use crate::{a, b::c}`.
fn uses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap().split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let word: String = name
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            found.push(word);
        }
    }
    found
}

#[test]
fn no_module_uses_a_layer_above_its_own() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut breaches = Vec::new();
    let mut checked = 0;
    for path in files(&src) {
        let inside = path.strip_prefix(&src).unwrap();
        let first = inside.iter().next().unwrap().to_string_lossy();
        let module = first.trim_end_matches(".rs");
        let Some(own) = layer(module) else {
            assert!(matches!(module, "lib" | "main"), "{module} has no layer");
            continue;
        };
        let text = fs::read_to_string(&path).unwrap();
        for used in uses(&text) {
            let Some(other) = layer(&used) else { continue };
            let is_sibling = SIBLINGS.contains(&(module, used.as_str())) || used == module;
            if other > own || (other == own && !is_sibling) {
                breaches.push(format!("{} uses {used}", inside.display()));
            }
            checked += 1;
        }
    }
    breaches.sort();
    breaches.dedup();
    assert!(checked > 100, "{checked} uses were found");
    assert_eq!(breaches, Vec::<String>::new());
}

#[test]
fn the_library_lists_the_layers_as_they_are_checked() {
    let text = include_str!("../src/lib.rs");
    for modules in LAYERS {
        for module in modules {
            assert!(text.contains(&format!("pub mod {module};")), "{module}");
            let listed = text.lines().any(|line| {
                line.starts_with("//! ") && line.split_whitespace().any(|w| w == *module)
            });
            assert!(listed, "{module} is not in the list of layers");
        }
    }
}

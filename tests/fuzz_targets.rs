//! Each fuzz target takes its corpus; a fuzzer is not needed to see that one is broken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "../fuzz/src/targets/mod.rs"]
#[expect(unreachable_pub, reason = "it is public in the fuzz crate")]
mod targets;

fn names(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).unwrap();
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| stem(&entry.unwrap().path())).collect()
}

#[test]
fn every_target_has_a_binary_and_a_corpus() {
    let known: BTreeSet<String> = targets::ALL
        .iter()
        .map(|(name, _)| (*name).into())
        .collect();
    assert_eq!(known.len(), targets::ALL.len());
    assert_eq!(names("fuzz/fuzz_targets"), known);
    assert_eq!(names("fuzz/corpus"), known);
    let manifest = include_str!("../fuzz/Cargo.toml");
    for name in &known {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

#[test]
fn every_target_takes_its_corpus_whole_and_cut() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut taken = 0;
    for (name, target) in targets::ALL {
        for entry in fs::read_dir(corpora.join(name)).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            for part in [
                &bytes[..],
                &bytes[..bytes.len() / 2],
                &bytes[bytes.len() / 2..],
            ] {
                target(part);
                taken += 1;
            }
        }
    }
    assert!(taken > 100, "{taken} inputs");
}

//! Long output on a terminal, page by page.

use super::terminal::on_terminal;
use super::*;

/// Stands for a pager: what went through it is seen.
const PAGER: (&str, &str) = ("ESPGATE_PAGER", "sed s/^/paged:/");

#[test]
fn what_is_longer_than_the_screen_goes_through_the_pager() {
    let text = on_terminal(&["config", "default"], &[PAGER]);
    assert!(
        text.lines().all(|line| line.starts_with("paged:")),
        "{text}"
    );
    assert!(text.lines().count() > 24, "{text}");
}

#[test]
fn the_pager_is_the_one_that_the_user_wants() {
    let default = ("PAGER", "sed s/^/other:/");
    let text = on_terminal(&["config", "default"], &[default]);
    assert!(text.starts_with("other:"), "{text}");
    let text = on_terminal(&["config", "default"], &[default, PAGER]);
    assert!(text.starts_with("paged:"), "{text}");
}

#[test]
fn nothing_is_paged_that_fits_or_that_nobody_reads_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let plain = [
        (vec!["config", "default", "--no-pager"], PAGER),
        (vec!["config", "default"], ("ESPGATE_PAGER", "")),
        (vec!["config", "default"], ("ESPGATE_PAGER", "cat")),
        (vec!["doctor", "--json", "--data-dir", data], PAGER),
    ];
    for (arguments, environment) in plain {
        let text = on_terminal(&arguments, &[environment]);
        assert!(
            !text.is_empty() && !text.contains("paged:"),
            "{arguments:?}"
        );
    }
    let dumb = on_terminal(&["config", "default"], &[PAGER, ("TERM", "dumb")]);
    assert!(!dumb.contains("paged:"));
    let short = on_terminal(&["doctor", "--data-dir", data], &[PAGER]);
    assert!(
        short.contains("error") && !short.contains("paged:"),
        "{short}"
    );
    let piped = daemon::binary()
        .args(["config", "default"])
        .env(PAGER.0, PAGER.1)
        .output()
        .unwrap();
    assert!(!String::from_utf8(piped.stdout).unwrap().contains("paged:"));
}

#[test]
fn without_the_pager_all_is_shown_all_the_same() {
    let missing = ("ESPGATE_PAGER", "no-such-pager-here 2>/dev/null");
    let shown = on_terminal(&["config", "default"], &[missing]);
    let expected = String::from_utf8(espgate(&["config", "default"]).stdout).unwrap();
    assert_eq!(shown.replace("\r\n", "\n"), expected);
}

#[test]
fn whoever_may_run_this_as_root_gets_no_program_of_theirs_run_as_root() {
    let folder = tempfile::tempdir().unwrap();
    let less = folder.path().join("less");
    daemon::write(&less, b"#!/bin/sh\nexec sed \"s/^/secure $LESSSECURE:/\"\n");
    fs::set_permissions(&less, fs::Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let lent = [PAGER, ("PATH", &path), ("SUDO_UID", "1000")];
    let text = on_terminal(&["config", "default"], &lent);
    assert!(text.starts_with("secure 1:"), "{text}");
}

//! `espgate crashes explain`: why a dump has its signature.

use crate::api::crashes::Explained;
use crate::cli::client::{Client, segment};
use crate::cli::failure::Failure;
use crate::cli::output::{known, print, print_facts, print_json, print_line, print_table};
use crate::cli::table::{Table, WIDTH, folded};
use crate::printable::escaped;

pub(super) fn run(client: &Client, dump: &str, json: bool) -> Result<(), Failure> {
    let answer = client
        .get(format!("/api/coredumps/{}/signature", segment(dump)))
        .doing(format!("explain the signature of coredump {dump}"))
        .advice("see `espgate coredumps list`")
        .send()?;
    if json {
        return print_json(&answer);
    }
    let explained: Explained = answer.read()?;
    let signature = match &explained.signature {
        Some(signature) => format!("{} ({})", signature.text, signature.id),
        None => format!("none: {}", known(&explained.reason)),
    };
    print_facts(&[
        ("Signature", signature),
        ("Class", explained.class),
        ("Task", known(&explained.explanation.task)),
        ("Why this task", explained.explanation.task_rule),
        ("Crash group", known(&explained.crash)),
    ])?;
    print_line("")?;
    let mut table = Table::new(&["FRAME", "COUNTS AS", "BECAUSE OF"], &[]);
    let frames = &explained.explanation.frames;
    for frame in frames {
        let function = match &frame.function {
            Some(function) => function.clone(),
            None => String::from("unknown"),
        };
        table.row([
            function,
            frame.verdict.as_str().to_owned(),
            known(&frame.rule),
        ]);
    }
    print_table(&table, frames.is_empty(), "no frames")?;
    if let Some(signature) = explained
        .signature
        .filter(|signature| !signature.notes.is_empty())
    {
        let notes = signature.notes.join("; ");
        print(&format!("\n{}\n", folded(&escaped(&notes), WIDTH, 2)))?;
    }
    Ok(())
}

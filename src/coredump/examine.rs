//! From bytes to a verdict: which container, which payload, how much of it.

use std::borrow::Cow;

use super::binary::binary;
use super::binary_payload;
use super::console_text;
use super::dump::Dump;
use super::found::Found;
use super::headerless;
use super::wrapping::unwrap;
use super::{Container, Examination, PayloadFormat, Verdict};

/// What `bytes` are, as far as they say so themselves. Takes time and memory
/// in proportion to their length; never fails.
pub fn examine(bytes: &[u8]) -> Examination {
    load(bytes).0
}

/// [`examine`], and the contents of the dump as far as they are whole.
///
/// A console log gives its last crash, or the least damaged dump if that one
/// is damaged; see [`load_all`] for all of them.
pub fn load(bytes: &[u8]) -> (Examination, Option<Dump>) {
    found(bytes).into_parts()
}

/// [`load`] for every crash in a console log, in order; one result for
/// everything else.
pub fn load_all(bytes: &[u8]) -> Vec<(Examination, Option<Dump>)> {
    let found = found(bytes);
    if found.crashes.is_none() || !found.wrapping.is_empty() {
        return vec![found.into_parts()];
    }
    console_text::crashes_in(bytes)
}

fn found(bytes: &[u8]) -> Found {
    let found = binary(bytes);
    if found.verdict != Verdict::NotACoredump {
        return found;
    }
    console_text::base64(bytes)
        .or_else(|| unwrapped(bytes))
        .or_else(|| console_text::log(bytes))
        .or_else(|| without_header(bytes))
        .unwrap_or(found)
}

/// What is in a wrapping, if there is one: named even where nothing is in it.
fn unwrapped(bytes: &[u8]) -> Option<Found> {
    let mut wrapping = Vec::new();
    let mut inner = Cow::Borrowed(bytes);
    while wrapping.len() < MOST_WRAPPINGS
        && let Some((name, content)) = unwrap(&inner)
    {
        wrapping.push(name);
        inner = Cow::Owned(content);
    }
    if wrapping.is_empty() {
        return None;
    }
    let mut found = found(&inner);
    if found.verdict == Verdict::NotACoredump {
        // much text can be read as hexadecimal
        if wrapping.last() == Some(&"hex") {
            return None;
        }
        let names = wrapping.join(" in ");
        found.problems = vec![format!("no coredump found in this {names}")];
    }
    found.wrapping = wrapping;
    Some(found)
}

/// A binary payload whose header was cut off, possibly with some bytes more.
fn without_header(bytes: &[u8]) -> Option<Found> {
    let recovered = headerless::recover(bytes)?;
    let mut found = Found::new(Verdict::Valid, Container::Raw);
    found.format = Some(PayloadFormat::Binary);
    let Some(recovered) = recovered else {
        let sentence = "header missing: tasks cannot be separated";
        found.lower(Verdict::Truncated, sentence.to_owned());
        return Some(found);
    };
    let data = &recovered.data;
    let layout = binary_payload::Layout::of(data, recovered.counts);
    let rest = data.get(layout.end..).unwrap_or_default();
    let padded = rest.len() < FLASH_PADDING && rest.iter().all(|b| *b == 0);
    let header = "header missing: task count reconstructed from the task data";
    if layout.missing.is_none() && padded {
        found.lower(Verdict::Repaired, header.to_owned());
        found.canonical = data.get(..layout.end).map(<[u8]>::to_vec);
    } else {
        let sentence = layout.missing.clone();
        let sentence = sentence.unwrap_or_else(|| "last task truncated".to_owned());
        found.lower(Verdict::Truncated, sentence);
        found.problem(header.to_owned());
    }
    if recovered.put_back > 0 {
        let sentence = format!("first {} bytes missing, reconstructed", recovered.put_back);
        found.problem(sentence);
    }
    found.dump = Some(binary_payload::parse(recovered.architecture, data, &layout));
    Some(found)
}

const MOST_WRAPPINGS: usize = 3;
/// Flash writers fill the data up to a multiple of this.
const FLASH_PADDING: usize = 32;

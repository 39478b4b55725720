//! What must be true of the rest of a line behind a form's first words.

pub(super) fn any(_: &str) -> bool {
    true
}

pub(super) fn is_nothing(rest: &str) -> bool {
    rest.trim().is_empty()
}

pub(super) fn begins_hex(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_ascii_hexdigit())
}

/// `400d66b9 on core 0`
pub(super) fn is_abort(rest: &str) -> bool {
    let behind = rest.trim_start_matches(|c: char| c.is_ascii_hexdigit());
    let behind = match behind.strip_prefix(" on core ") {
        Some(core) => core.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => behind,
    };
    behind.len() < rest.len() && !goes_on_in_prose(behind)
}

/// ` 0 panic'ed (LoadProhibited)`; the core may be any one character.
pub(super) fn is_panicked(rest: &str) -> bool {
    let rest = rest.trim_start();
    let mut chars = rest.chars();
    chars.next();
    let rest = chars.as_str().trim_start();
    // forums put a typographer's apostrophe there
    let words = ["panic'ed (", "panic\u{2019}ed ("];
    let Some(cause) = words.iter().find_map(|words| rest.strip_prefix(words)) else {
        return false;
    };
    // the line's end may be lost
    let (cause, behind) = cause.split_once(')').unwrap_or((cause, ""));
    cause.contains(char::is_alphabetic) && !goes_on_in_prose(behind)
}

/// Whether a text that tells of panics goes on behind a headline: a sentence or
/// the cell of a table. A device ends it with a full stop or the line.
fn goes_on_in_prose(behind: &str) -> bool {
    let is_row = behind.trim_end().ends_with('|') || behind.contains(" | ");
    let word = behind.split_whitespace().next().unwrap_or_default();
    let is_word = word
        .trim_end_matches(['.', ',', ':', '!', '?'])
        .chars()
        .all(char::is_alphabetic);
    let goes_on = match behind.chars().next() {
        Some(' ') => !word.is_empty() && is_word,
        first => first.is_some_and(|c| ",;:!?`'\"".contains(c)),
    };
    is_row || goes_on
}

pub(super) fn is_of_type(rest: &str) -> bool {
    rest.contains(" occurred on core")
}

/// `function file.c:12 (expression)`. A function of C++ may have colons, blanks
/// and parentheses in it, a path colons.
pub(super) fn is_assertion(rest: &str) -> bool {
    let line = |(at, _): (usize, &str)| {
        rest.get(at + 1..)
            .is_some_and(|behind| behind.starts_with(|c: char| c.is_ascii_digit()))
    };
    rest.contains('(') && rest.match_indices(':').any(line)
        || rest
            .split_once(' ')
            .is_some_and(|(_, rest)| rest.contains(".c:"))
}

/// `/idf/components/freertos/queue.c:1442 (xQueueGenericReceive)- assert failed!`
pub(super) fn is_freertos(words: &str) -> bool {
    let place = words.strip_suffix(")- assert failed!");
    place
        .and_then(|place| place.rsplit_once(" ("))
        .and_then(|(place, _)| place.rsplit_once(':'))
        .is_some_and(|(_, line)| !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn is_zephyr_assertion(rest: &str) -> bool {
    rest.contains("] @ ")
}

pub(super) fn is_newlib(rest: &str) -> bool {
    rest.contains("\" failed: file \"")
}

/// `main' panicked at `, from Rust 1.91 on `main' (1070152220) panicked at `
pub(super) fn is_rust_panic(rest: &str) -> bool {
    let Some((thread, _)) = rest.split_once(" panicked at ") else {
        return false;
    };
    thread.ends_with('\'') || thread_number(thread).is_some()
}

/// The thread's number behind its name, which differs at each boot.
fn thread_number(thread: &str) -> Option<&str> {
    let at = thread.rfind("' (")? + 1;
    let number = thread.get(at..)?;
    let digits = number.strip_prefix(" (")?.strip_suffix(')')?;
    let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all.then_some(number)
}

/// A Rust panic's headline as Rust wrote it before 1.91, without that number.
pub fn without_thread_number(words: &str) -> String {
    let thread = words.split_once(" panicked at ").map(|(thread, _)| thread);
    match thread.and_then(thread_number) {
        Some(number) => words.replacen(number, "", 1),
        None => words.to_owned(),
    }
}

/// `src/main.rs:42:9`, or the message and then the place
pub(super) fn is_rust_place(rest: &str) -> bool {
    let Some((_, behind)) = rest.split_once(".rs:") else {
        return false;
    };
    let digits = behind.trim_start_matches(|c: char| c.is_ascii_digit());
    digits.len() < behind.len() && digits.starts_with(':')
}

/// ` on ProCpu 'LoadProhibited'`
pub(super) fn is_quoted(rest: &str) -> bool {
    rest.contains('\'')
}

pub(super) fn is_trap(rest: &str) -> bool {
    rest.contains("' mepc=0x")
}

/// `5, Load access fault`
pub(super) fn is_zephyr_cause(rest: &str) -> bool {
    rest.split_once(", ")
        .is_some_and(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()))
}

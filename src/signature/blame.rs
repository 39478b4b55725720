//! Which task's frames count: not always those of the task that the dump calls crashed.
//!
//! The task watchdog panics from its interrupt, on whatever runs at that moment. If only
//! idle tasks starved, that is who hogs the CPU; if a task of the application's did not
//! come back in time, it is stuck, and its own stack says where (`task_wdt.c`).

use super::class::{Class, Kind, WATCHDOG};
use super::{Crash, Task};

/// The task to blame, and why.
#[derive(Debug)]
pub(super) struct Blame<'c, 'a> {
    pub(super) task: Option<&'c Task<'a>>,
    pub(super) rule: String,
    /// It may be the wrong one.
    pub(super) unsure: bool,
    /// What people should know beside it.
    pub(super) note: Option<String>,
}

/// The task to blame for `crash`.
pub(super) fn blame<'c, 'a>(crash: &'c Crash<'a>, class: &Class) -> Blame<'c, 'a> {
    let crashed = crash.tasks.iter().find(|task| task.crashed);
    let running = |rule: &str, unsure| Blame {
        task: crashed,
        rule: rule.to_owned(),
        unsure,
        note: None,
    };
    if class.kind != Kind::TaskWatchdog {
        return running("the crashed task", false);
    }
    let late = late(crash.words);
    if late.is_empty() {
        let rule = "the running task: the dump does not say which task the watchdog waited for";
        return running(rule, true);
    }
    let mut users = late.iter().filter(|name| !is_idle(name)).peekable();
    if users.peek().is_none() {
        return running("the running task: only idle tasks could not run", false);
    }
    let task_of = |name: &&str| crash.tasks.iter().find(|task| task.name == Some(*name));
    let Some(stuck) = users.clone().find_map(task_of) else {
        let names: Vec<&str> = users.copied().collect();
        let names = names.join(", ");
        let rule =
            format!("the running task: {names}, which the watchdog names, is not in the dump");
        return running(&rule, true);
    };
    let name = stuck.name.unwrap_or_default();
    let starved = late.iter().any(|name| is_idle(name));
    let other = crashed.filter(|crashed| crashed.name != stuck.name);
    Blame {
        task: Some(stuck),
        rule: format!("task {name}, which the watchdog names"),
        unsure: false,
        note: other.filter(|_| starved).map(|running| {
            let running = running.name.unwrap_or("another task");
            format!("{running} was running, and an idle task could not run")
        }),
    }
}

/// The names that the task watchdog gives, of tasks and of users.
fn late(words: &str) -> Vec<&str> {
    let Some((_, list)) = words.split_once(WATCHDOG) else {
        return Vec::new();
    };
    let names = list.lines().skip(1).filter_map(|line| {
        let line = match line.split_once("task_wdt: ") {
            Some((_, behind)) => behind,
            None => line,
        };
        let name = line.trim_start().strip_prefix("- ")?;
        let name = name.rsplit_once(" (CPU ").map_or(name, |(name, _)| name);
        Some(name.trim())
    });
    names
        .filter(|name| !name.is_empty())
        .take(NAMES_LIMIT)
        .collect()
}

/// Whether a watchdog's name is an idle task, or a core that stands for one.
pub(super) fn is_idle(name: &str) -> bool {
    let number = name
        .strip_prefix("IDLE")
        .or_else(|| name.strip_prefix("CPU "));
    number.is_some_and(|number| number.chars().all(|c| c.is_ascii_digit()))
}

/// More tasks are not read.
const NAMES_LIMIT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn blamed(names: &[&str], words: &str) -> (Option<String>, bool, bool) {
        let tasks = names.iter().enumerate().map(|(index, name)| Task {
            name: Some(name),
            crashed: index == 0,
            frames: Vec::new(),
        });
        let crash = Crash {
            words,
            tasks: tasks.collect(),
            ..Crash::default()
        };
        let class = super::super::class::class(&crash, &[]);
        let blame = blame(&crash, &class);
        let task = blame.task.and_then(|task| task.name).map(str::to_owned);
        (task, blame.unsure, blame.note.is_some())
    }

    fn watchdog(names: &[&str]) -> String {
        let mut words = format!("{WATCHDOG}. The following tasks/users did not reset in time:");
        for name in names {
            words.push_str(&format!("\n - {name}"));
        }
        words
    }

    #[test]
    fn the_watchdog_s_own_words_say_who_is_to_blame() {
        let tasks = ["running", "stuck", "IDLE0"];
        for (late, expected) in [
            (&["IDLE0 (CPU 0)"][..], ("running", false, false)),
            (
                &["IDLE0 (CPU 0)", "IDLE1 (CPU 1)"],
                ("running", false, false),
            ),
            (&["IDLE (CPU 0)"], ("running", false, false)),
            (&["CPU 0 (CPU 0/1)"], ("running", false, false)),
            (&["stuck (CPU 0/1)"], ("stuck", false, false)),
            (&["IDLE0 (CPU 0)", "stuck (CPU 1)"], ("stuck", false, true)),
            (
                &["a user (CPU 0/1)", "stuck (CPU 1)"],
                ("stuck", false, false),
            ),
            (&["gone (CPU 0)"], ("running", true, false)),
            (&["running (CPU 0)"], ("running", false, false)),
            (&["IDLER (CPU 0)"], ("running", true, false)),
            (&[], ("running", true, false)),
        ] {
            let (task, unsure, note) = blamed(&tasks, &watchdog(late));
            assert_eq!(
                (task.as_deref(), unsure, note),
                (Some(expected.0), expected.1, expected.2),
                "{late:?}"
            );
        }
    }

    #[test]
    fn a_console_s_log_marks_are_not_part_of_a_name() {
        let words = format!(
            "E (10307) task_wdt: {WATCHDOG}. The following:\nE (10307) task_wdt:  - stuck (CPU 0)\n\
             E (10307) task_wdt: Tasks currently running:\nE (10307) task_wdt: CPU 0: running"
        );
        assert_eq!(late(&words), ["stuck"]);
    }

    #[test]
    fn every_other_crash_is_the_crashed_task_s() {
        let (task, unsure, _) = blamed(&["a", "b"], "abort() was called at PC 0x1 on core 0");
        assert_eq!((task.as_deref(), unsure), (Some("a"), false));
    }
}

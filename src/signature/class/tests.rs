use super::super::judge::{Lists, judge};
use super::super::{Frame, Task, cut};
use super::*;

const PANIC: [&str; 2] = ["panic_abort", "esp_system_abort"];

/// The class of a crash with these words, this cause, and these functions of ESP-IDF
/// innermost.
fn class_of(words: &str, cause: Option<&str>, functions: &[&str], printed_only: bool) -> Class {
    let frame = |function| Frame {
        function: Some(function),
        file: Some("/opt/esp/idf/components/esp_system/x.c"),
        ..Frame::default()
    };
    let app = Frame {
        function: Some("app_main"),
        file: Some("/home/a/pump/main/app.c"),
        ..Frame::default()
    };
    let task = Task {
        name: Some("main"),
        crashed: true,
        frames: functions.iter().copied().map(frame).chain([app]).collect(),
    };
    let frames = judge(&task, None, &Lists::default());
    let crash = Crash {
        words,
        cause,
        printed_only,
        tasks: vec![task],
        ..Crash::default()
    };
    class(&crash, cut::thrown(&frames))
}

#[test]
fn a_dump_s_own_words_tell_the_class() {
    for (words, expected) in [
        ("abort() was called at PC 0x400d66b9 on core 0", "abort"),
        (
            "assert failed: fill pump.c:12 (level < 100)",
            "assert fill pump.c level < 100",
        ),
        ("assert failed: 0x400d1234", "assert"),
        (
            "\n***ERROR*** A stack overflow in task pump has been detected.",
            "stack_overflow pump",
        ),
        ("\nStack smashing protect failure!\n", "stack_smash"),
        (
            "Mem alloc fail. size 0x00001000 caps 0x00000804",
            "alloc_failed",
        ),
        (
            "Undefined behavior of type out_of_bounds",
            "ubsan out_of_bounds",
        ),
        (
            "KASAN: invalid memory access",
            "kasan invalid memory access",
        ),
        (
            "assert failed: multi_heap_free multi_heap_poisoning.c:279 (head != NULL)",
            "heap_corruption",
        ),
        (
            "assert failed: block_merge_prev tlsf_block_functions.h:100 (x)",
            "heap_corruption",
        ),
        (
            "assert failed: heap_caps_free heap_caps.c:381 (heap != NULL)",
            "assert heap_caps_free heap_caps.c heap != NULL",
        ),
        (
            "Task watchdog got triggered. The following:\n - IDLE0 (CPU 0)\nabort() was called at PC 0x1 on core 0",
            "task_wdt",
        ),
        ("the pump ran dry", "exception StoreProhibited"),
    ] {
        let found = class_of(words, Some("StoreProhibited"), &[], false);
        assert_eq!(found.text, expected, "{words}");
    }
}

#[test]
fn without_words_the_panic_s_frames_tell_the_class() {
    for (functions, expected) in [
        (&["abort"][..], "abort"),
        (&["abort", "__assert_func"], "assert"),
        (&["abort", "_esp_error_check_failed"], "esp_error_check"),
        (&["abort", "__stack_chk_fail"], "stack_smash"),
        (&["vApplicationStackOverflowHook"], "stack_overflow main"),
        (&["heap_caps_alloc_failed"], "alloc_failed"),
        (
            &[
                "__ubsan_default_handler",
                "__ubsan_handle_shift_out_of_bounds",
            ],
            "ubsan shift_out_of_bounds",
        ),
        (
            &["kasan_report", "kasan_check", "__asan_load4_noabort"],
            "kasan",
        ),
        (&["task_wdt_timeout_handling", "task_wdt_isr"], "task_wdt"),
        (
            &["abort", "__assert_func", "multi_heap_free"],
            "heap_corruption",
        ),
        (
            &["abort", "multi_heap_internal_check_block_poisoning"],
            "heap_corruption",
        ),
        (
            &[
                "rust_begin_unwind",
                "core::panicking::panic_fmt",
                "core::result::unwrap_failed",
            ],
            "rust_panic",
        ),
        (&["abort", "std::terminate", "__cxa_throw"], "abort"),
    ] {
        let all: Vec<&str> = PANIC.iter().chain(functions).copied().collect();
        let found = class_of("", Some("StoreProhibited"), &all, false);
        assert_eq!(found.text, expected, "{functions:?}");
    }
}

#[test]
fn the_error_check_says_the_same_as_an_abort() {
    let words = "abort() was called at PC 0x400d66b9 on core 0";
    let functions = [
        "panic_abort",
        "esp_system_abort",
        "abort",
        "_esp_error_check_failed",
    ];
    assert_eq!(
        class_of(words, None, &functions, false).text,
        "esp_error_check"
    );
}

#[test]
fn the_cause_tells_the_class_of_an_exception() {
    for (cause, expected, taken) in [
        ("LoadProhibited", "exception LoadProhibited", 3),
        ("StoreAccessFault", "exception StoreAccessFault", 3),
        ("InterruptWatchdogCpu1", "int_wdt", 1),
        ("InterruptWatchdog", "int_wdt", 1),
        ("CacheDisabled", "cache_error", 3),
        ("CacheError", "cache_error", 3),
        ("DoubleException", "double_exception", 3),
        ("DebugException", "debug_exception", 3),
        ("CoprocessorException", "coprocessor", 3),
        ("AssistDebug", "stack_guard", 1),
        ("StackProtection", "stack_guard", 1),
    ] {
        let found = class_of("", Some(cause), &[], false);
        assert_eq!(found.text, expected);
        assert_eq!(
            found.taken().map(|taken| taken.application),
            Some(taken),
            "{cause}"
        );
    }
    // where the heap is in the way the writer is elsewhere; a watchdog's victim is not
    for (cause, expected) in [
        ("LoadProhibited", "heap_corruption"),
        ("InterruptWatchdog", "int_wdt"),
    ] {
        assert_eq!(
            class_of("", Some(cause), &["tlsf_malloc"], false).text,
            expected
        );
    }
    assert_eq!(class_of("", None, &[], false).text, "unknown");
}

#[test]
fn a_panic_that_was_only_printed_has_the_class_that_its_dump_would_have() {
    for (words, cause, expected) in [
        (
            "Guru Meditation Error: Core  0 panic'ed (LoadProhibited).",
            Some("LoadProhibited"),
            "exception LoadProhibited",
        ),
        (
            "Guru Meditation Error: Core  0 panic'ed (Interrupt wdt timeout on CPU0).",
            Some("InterruptWatchdogCpu0"),
            "int_wdt",
        ),
        (
            "Guru Meditation Error: Core  0 panic'ed (Stack protection fault).",
            Some("StackProtection"),
            "stack_guard",
        ),
        // the watchdog warned before another panic
        (
            "Guru Meditation Error: Core  0 panic'ed (LoadProhibited).\nE (5310) task_wdt: Task watchdog got triggered.",
            Some("LoadProhibited"),
            "exception LoadProhibited",
        ),
        (
            "ESP_ERROR_CHECK failed: esp_err_t 0x103\nabort() was called at PC 0x1 on core 0",
            None,
            "esp_error_check",
        ),
        (
            "assertion \"head != NULL\" failed: file \"/i/multi_heap_poisoning.c\", line 5, function: multi_heap_free\nabort() was called",
            None,
            "heap_corruption",
        ),
        (
            "panicked at src/bin/main.rs:42:9\nno sensor",
            None,
            "rust_panic",
        ),
        (
            "thread 'main' panicked at src/main.rs:4:5:",
            None,
            "rust_panic",
        ),
        (
            "Brownout detector was triggered",
            None,
            "no_dump Brownout detector was triggered",
        ),
        ("", None, "no_dump"),
    ] {
        assert_eq!(class_of(words, cause, &[], true).text, expected, "{words}");
    }
}

#[test]
fn what_a_class_takes_from_the_device_is_short_and_in_one_line() {
    let long = "x".repeat(100_000);
    for words in [
        format!("assert failed: {long} {long}:1 ({long}"),
        format!("A stack overflow in task {long} has been detected"),
        format!("Undefined behavior of type {long}"),
        format!("KASAN: {long}"),
        format!("assertion \"{long}\" failed: file \"{long}\", line 1, function: {long}"),
    ] {
        let found = class_of(&words, None, &[], false);
        assert!(
            found.text.chars().count() <= 3 * 80 + 10,
            "{}",
            found.text.len()
        );
        assert!(!found.text.contains('\n'));
    }
    let found = class_of(
        "A stack overflow in task a\u{7}\tb has been detected",
        None,
        &[],
        false,
    );
    assert_eq!(found.text, "stack_overflow a b");
}

#[test]
fn the_coarse_class_of_an_assert_has_no_details() {
    let found = class_of(
        "assert failed: fill pump.c:12 (level < 100)",
        None,
        &[],
        false,
    );
    assert_eq!(found.coarse, "assert");
    assert_eq!(
        class_of("", None, &["__assert_func"], false).coarse,
        "assert"
    );
}

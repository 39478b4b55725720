//! Reasons of resets, as devices report them: ESP-IDF's names and numbers
//! (`esp_reset_reason`), and the ROM's names.

/// The word for a reset that leaves no dump because the panic handler does not run:
/// `brownout` or `rtc_wdt`. `None` for all others.
pub fn without_dump(reason: &str) -> Option<&'static str> {
    let reason = reason.to_ascii_uppercase();
    let name = reason.strip_prefix("ESP_RST_").unwrap_or(&reason);
    if name == "9" || name.contains("BROWN") {
        return Some("brownout");
    }
    let is_rtc = name.contains("RTCWDT") || name.contains("RTC_WDT");
    // ESP-IDF's "other watchdogs": those of interrupts and tasks have names of their own
    (name == "7" || name == "WDT" || is_rtc).then_some("rtc_wdt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_resets_without_the_panic_handler_leave_no_dump() {
        for (reason, expected) in [
            ("brownout", Some("brownout")),
            ("ESP_RST_BROWNOUT", Some("brownout")),
            ("RTCWDT_BROWN_OUT_RESET", Some("brownout")),
            ("9", Some("brownout")),
            ("7", Some("rtc_wdt")),
            ("ESP_RST_WDT", Some("rtc_wdt")),
            ("RTCWDT_RTC_RESET", Some("rtc_wdt")),
            ("rtc_wdt", Some("rtc_wdt")),
            ("panic", None),
            ("ESP_RST_TASK_WDT", None),
            ("int_wdt", None),
            ("6", None),
            ("DEEPSLEEP", None),
            ("poweron", None),
            ("", None),
        ] {
            assert_eq!(without_dump(reason), expected, "{reason}");
        }
    }
}

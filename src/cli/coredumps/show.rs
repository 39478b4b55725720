//! `espgate coredumps show`: the report of a dump, or its sidecar if there is none.

use http::StatusCode;

use super::SEE_LIST;
use crate::api::coredumps::Coredump;
use crate::cli::client::{Client, Reply, segment};
use crate::cli::failure::Failure;
use crate::cli::output::{duration, known, moment, print, print_facts, print_json, print_line};
use crate::cli::style::coloured;
use crate::cli::table::{WIDTH, folded};
use crate::decode::{self, Report};
use crate::printable::escaped;
use crate::store::coredumps::{DecodeState, REBUILT};

pub(super) fn run(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let path = format!("/api/coredumps/{}", segment(id));
    let doing = format!("show coredump {id}");
    let report = client.get(format!("{path}/report")).doing(&doing).ask()?;
    if report.status == StatusCode::OK {
        if json {
            return print_json(&report);
        }
        let dump: Coredump = client.get(path).doing(doing).send()?.read()?;
        let heading = folded(&escaped(&heading(&dump)), WIDTH, 2);
        print(&format!("{heading}\n"))?;
        if let Some(gateway) = gateway_induced(&dump) {
            print(&format!(
                "{}\n",
                folded(&format!("Caused by {gateway}"), WIDTH, 2)
            ))?;
        }
        print("\n")?;
        print(&in_words(&report)?)?;
        return match failure(&dump) {
            Some(why) => print_line(&format!("this is an earlier report: {why}")),
            None => Ok(()),
        };
    }
    // No report yet, or no such dump: the sidecar tells.
    let answer = client.get(path).doing(doing).advice(SEE_LIST).send()?;
    if json {
        return print_json(&answer);
    }
    let dump: Coredump = answer.read()?;
    facts(&dump)?;
    match failure(&dump) {
        Some(why) => print_line(&format!(
            "no report: {why}; try again with `espgate coredumps redecode {id}`"
        )),
        None => print_line("no report yet: decoding"),
    }
}

/// Why a dump could not be decoded, if it was given up.
fn failure(dump: &Coredump) -> Option<String> {
    let why = known(&dump.sidecar.decoding.failure);
    (dump.sidecar.decode == DecodeState::Failed).then(|| format!("decoding failed: {why}"))
}

/// That the gateway caused the crash, if it did.
fn gateway_induced(dump: &Coredump) -> Option<String> {
    let seconds = dump.sidecar.gateway_unreachable_s?;
    dump.sidecar.gateway_induced.then(|| {
        format!(
            "the gateway (gateway-induced): it was not reachable for {} before, and code that \
             talks to it crashed; not counted against the build",
            duration(seconds)
        )
    })
}

/// What the report does not tell: whose dump it is, and when it came how.
fn heading(dump: &Coredump) -> String {
    let sidecar = &dump.sidecar;
    let mut firmware = format!(
        "{} {}",
        known(&sidecar.model_code),
        known(&sidecar.firmware_version)
    );
    if firmware.trim().is_empty() {
        firmware = String::from("unknown firmware");
    }
    // A sidecar that was made anew from its dump can only guess the way.
    let way = match sidecar.identity.as_str() {
        REBUILT => String::new(),
        _ => format!(" via {}", sidecar.source),
    };
    format!(
        "Coredump {} of {} ({}), {} UTC{way}",
        sidecar.id,
        sidecar.device_key,
        firmware.trim(),
        uploaded(dump),
    )
}

/// The report as text, escaped; in colours on a terminal.
fn in_words(report: &Reply) -> Result<String, Failure> {
    let report: Report = report.read()?;
    Ok(decode::text::render(&report, coloured()))
}

fn facts(dump: &Coredump) -> Result<(), Failure> {
    let sidecar = &dump.sidecar;
    print_facts(&[
        ("id", sidecar.id.clone()),
        ("device", sidecar.device_key.clone()),
        ("model", known(&sidecar.model_code)),
        ("chip", known(&sidecar.chip)),
        ("version", known(&sidecar.firmware_version)),
        ("uploaded", uploaded(dump)),
        ("clock", known(&sidecar.clock)),
        ("source", sidecar.source.to_string()),
        ("file", dump.filename.clone()),
        ("size", sidecar.size.to_string()),
        ("format", known(&sidecar.format)),
        ("verdict", sidecar.verdict.clone()),
        ("problems", sidecar.problems.join(", ")),
        ("panic", known(&sidecar.panic_reason)),
        ("task", known(&sidecar.task)),
        ("app ELF", known(&sidecar.app_elf_sha256)),
        ("fingerprint", known(&sidecar.fingerprint)),
        ("decode", sidecar.decode.to_string()),
        ("failure", known(&sidecar.decoding.failure)),
        ("caused by", gateway_induced(dump).unwrap_or_default()),
    ])
}

/// When a dump came; `~` marks a time by a clock that was not synchronised and
/// that nothing is known about since.
fn uploaded(dump: &Coredump) -> String {
    let at = moment(&dump.sidecar.uploaded_at);
    match (&dump.corrected_at, dump.sidecar.clock.as_deref()) {
        (Some(corrected), _) => moment(corrected),
        (None, Some("unsynced")) => format!("~{at}"),
        (None, _) => at,
    }
}

/// The same without seconds, for a table, and without the year if it is `year`.
pub(super) fn uploaded_in_short(dump: &Coredump, year: Option<i32>) -> String {
    let at = uploaded(dump);
    let (mark, at) = match at.strip_prefix('~') {
        Some(at) => ("~", at),
        None => ("", at.as_str()),
    };
    let at = at.get(..16).unwrap_or(at);
    let this_year = year.map(|year| format!("{year:04}-"));
    let short = this_year.and_then(|year| at.strip_prefix(year.as_str()));
    format!("{mark}{}", short.unwrap_or(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::coredumps::sample;

    #[test]
    fn a_time_that_may_be_off_is_marked_until_the_right_one_is_known() {
        let mut dump = sample();
        dump.sidecar.uploaded_at = String::from("1970-01-01T00:01:00.000000Z");
        dump.sidecar.clock = Some(String::from("unsynced"));
        assert_eq!(uploaded(&dump), "~1970-01-01 00:01:00");
        assert_eq!(uploaded_in_short(&dump, Some(2026)), "~1970-01-01 00:01");
        dump.corrected_at = Some(String::from("2026-02-02T02:41:00.000000Z"));
        assert_eq!(uploaded_in_short(&dump, Some(2026)), "02-02 02:41");
        assert_eq!(uploaded_in_short(&dump, Some(2027)), "2026-02-02 02:41");
        assert_eq!(uploaded_in_short(&dump, None), "2026-02-02 02:41");
        dump.sidecar.clock = Some(String::from("synced"));
        assert_eq!(uploaded(&dump), "2026-02-02 02:41:00");
    }
}

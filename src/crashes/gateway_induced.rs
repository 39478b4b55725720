//! Crashes that the gateway itself caused: code that talks to it crashed while it was
//! not reachable. They are shown, and do not count against a build.

use time::{Duration, OffsetDateTime};

use crate::clock::parse;
use crate::store::last_shutdown::Outage;

/// Shorter outages are not noticed by a device that tries again.
const NOTICED: Duration = Duration::seconds(5);
/// ESP-IDF's clients of the gateway.
const CLIENTS: [&str; 2] = ["esp_http_client_", "esp_https_ota"];

/// Whether a stack has functions of ESP-IDF's HTTP or update client.
pub fn has_gateway_client<'a>(functions: impl IntoIterator<Item = &'a str>) -> bool {
    let is_client = |name: &str| CLIENTS.iter().any(|client| name.starts_with(client));
    functions.into_iter().any(is_client)
}

/// Seconds that the gateway was not reachable between a device's last contact and `now`,
/// if that is long enough for the device to notice.
pub fn unreachable_for(
    outages: &[Outage],
    last_contact: Option<&str>,
    now: OffsetDateTime,
) -> Option<u64> {
    let since = parse(last_contact?)?;
    let longest = outages
        .iter()
        .filter_map(|outage| outage.within(since, now))
        .max()?;
    (longest > NOTICED).then(|| u64::try_from(longest.whole_seconds()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stacks_with_a_client_of_the_gateway_count() {
        for (functions, expected) in [
            (vec!["memcpy", "esp_http_client_perform", "app_main"], true),
            (vec!["esp_https_ota_perform", "update_task"], true),
            (vec!["esp_https_ota", "update_task"], true),
            (vec!["my_esp_http_client_wrapper", "app_main"], false),
            (vec!["esp_http_server_start", "app_main"], false),
            (vec![], false),
        ] {
            assert_eq!(
                has_gateway_client(functions.clone()),
                expected,
                "{functions:?}"
            );
        }
    }

    #[test]
    fn an_outage_counts_from_the_last_contact_to_the_upload() {
        let at = |seconds: i64| OffsetDateTime::UNIX_EPOCH + Duration::seconds(1000 + seconds);
        let text = |seconds| crate::clock::iso8601(at(seconds));
        let outage = |from, to| Outage {
            from: text(from),
            to: text(to),
        };
        for (outages, contact, now, expected) in [
            (vec![outage(10, 30)], Some(0), 40, Some(20)),
            (vec![outage(10, 30)], Some(20), 40, Some(10)),
            (vec![outage(10, 30)], Some(25), 40, None),
            (vec![outage(10, 30)], Some(31), 40, None),
            (vec![outage(10, 30)], None, 40, None),
            (vec![outage(10, 15)], Some(0), 40, None),
            (vec![outage(10, 16)], Some(0), 40, Some(6)),
            (vec![outage(50, 60)], Some(0), 40, None),
            (vec![outage(10, 13), outage(20, 23)], Some(0), 40, None),
            (vec![outage(10, 13), outage(20, 28)], Some(0), 40, Some(8)),
            // the clock was set back
            (vec![outage(30, 10)], Some(0), 40, None),
            (vec![], Some(0), 40, None),
        ] {
            let contact = contact.map(text);
            let found = unreachable_for(&outages, contact.as_deref(), at(now));
            assert_eq!(found, expected, "{outages:?} {contact:?}");
        }
    }
}

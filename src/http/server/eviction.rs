//! Which connection ends when there are more clients than connections: a
//! decision over what is known of them, without any I/O.
//!
//! Whoever holds the most connections without an accepted credential gives one
//! up first, so that a client with one is never pushed out by a client with
//! many. A request under way is broken off only if nobody has signed in with
//! it, or if it is hardly moving.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::client_key::ClientKey;

/// What is known of an open connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenConnection {
    pub(super) client: ClientKey,
    /// It has shown a credential that was accepted.
    pub(super) signed_in: bool,
    /// A request is under way.
    pub(super) busy: bool,
    /// Accepted, or the last request with an accepted credential: what anybody
    /// may ask renews nothing.
    pub(super) since: Instant,
    /// How fast the body of the request at hand arrives, and since when.
    pub(super) upload: Option<Upload>,
}

/// A body that is arriving.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upload {
    pub(super) begun: Instant,
    pub(super) bytes: u64,
}

/// The one to end for a new connection of `newcomer`; `None` if it has to wait.
/// `share`: so many connections without a credential a client may have when
/// they are short.
pub(super) fn choose<K: Copy + Ord>(
    open: impl Iterator<Item = (K, OpenConnection)> + Clone,
    newcomer: ClientKey,
    share: usize,
    now: Instant,
) -> Option<K> {
    let anonymous = open.clone().filter(|(_, one)| !one.signed_in);
    let mut held: HashMap<ClientKey, usize> = HashMap::new();
    for (_, one) in anonymous.clone() {
        *held.entry(one.client).or_default() += 1;
    }
    let holds = |client: ClientKey| held.get(&client).copied().unwrap_or(0);
    let most = held.values().copied().max().unwrap_or(0);
    let anonymous = anonymous.filter(|(_, one)| {
        let own = holds(newcomer) + 1;
        let theirs = holds(one.client);
        // a request is broken off, or a handshake, only for a client that has fewer even then
        let gives_one_up = theirs == most && (own < most || own == most && !one.busy);
        let has_too_many = theirs > share || one.client == newcomer;
        gives_one_up || (has_too_many && !one.busy)
    });
    let oldest = |(key, one): &(K, OpenConnection)| (one.busy, one.since, *key);
    if let Some((key, _)) = anonymous.min_by_key(oldest) {
        return Some(key);
    }
    let idle = open
        .clone()
        .filter(|(_, one)| !one.busy && now.saturating_duration_since(one.since) >= IDLE);
    // who has not signed in goes first, whoever it is
    if let Some((key, _)) = idle.min_by_key(|(key, one)| (one.signed_in, one.since, *key)) {
        return Some(key);
    }
    slowest(open.filter_map(|(key, one)| Some((key, one.upload?))), now)
}

/// The upload that hardly moves, if there is one; of several the slowest.
pub(super) fn slowest<K: Copy + Ord>(
    uploads: impl Iterator<Item = (K, Upload)>,
    now: Instant,
) -> Option<K> {
    let slow = uploads.filter_map(|(key, upload)| {
        let time = now.saturating_duration_since(upload.begun);
        let rate = upload.bytes / time.as_secs().max(1);
        (time >= SLOW_AFTER && rate < SLOW_RATE).then_some((rate, key))
    });
    slow.min().map(|(_, key)| key)
}

/// A connection that was used so lately is not idle: its client may be about to
/// ask the next thing.
const IDLE: Duration = Duration::from_secs(1);
/// A body counts as slow after this time ...
const SLOW_AFTER: Duration = Duration::from_secs(5);
/// ... and below this rate, bytes a second: a dump of 64 KiB then takes longer
/// than devices wait.
const SLOW_RATE: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn client(n: u8) -> ClientKey {
        ClientKey::Address([10, 0, 0, n].into())
    }

    struct Scene {
        now: Instant,
        open: Vec<OpenConnection>,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                now: Instant::now() + 1000 * SECOND,
                open: Vec::new(),
            }
        }

        /// `count` connections of a client, the first the oldest.
        fn add(&mut self, n: u8, count: u32, signed_in: bool, busy: bool) {
            for number in 0..count {
                self.open.push(OpenConnection {
                    client: client(n),
                    signed_in,
                    busy,
                    since: self.now - (100 - number) * SECOND,
                    upload: None,
                });
            }
        }

        fn choose(&self, newcomer: u8) -> Option<usize> {
            let open = self.open.iter().copied().enumerate();
            choose(open, client(newcomer), 2, self.now)
        }
    }

    #[test]
    fn who_holds_the_most_gives_one_up_the_oldest_idle_one_first() {
        let mut scene = Scene::new();
        scene.add(1, 2, false, false);
        scene.add(2, 2, false, true);
        scene.add(2, 1, false, false);
        scene.add(3, 9, true, false);
        assert_eq!(scene.choose(9), Some(4));
        scene.open.remove(4);
        // both hold two: the idle ones go before those under way
        assert_eq!(scene.choose(9), Some(0));
    }

    #[test]
    fn a_client_with_many_pushes_out_no_client_with_few() {
        let mut scene = Scene::new();
        scene.add(1, 3, false, true);
        scene.add(2, 1, false, true);
        scene.add(3, 1, true, true);
        assert_eq!(scene.choose(1), None);
        assert_eq!(scene.choose(2), Some(0));
        // its own idle one may go for its next
        scene.add(1, 1, false, false);
        assert_eq!(scene.choose(1), Some(5));
    }

    #[test]
    fn who_has_signed_in_goes_last_and_only_when_idle() {
        let mut scene = Scene::new();
        scene.add(1, 3, true, true);
        scene.add(2, 2, true, false);
        assert_eq!(scene.choose(9), Some(3));
        scene.open.truncate(3);
        assert_eq!(scene.choose(9), None);
    }

    #[test]
    fn an_upload_that_hardly_moves_goes_when_there_is_nothing_else() {
        let mut scene = Scene::new();
        scene.add(1, 4, true, true);
        let upload = |seconds: u32, bytes| {
            Some(Upload {
                begun: scene.now - seconds * SECOND,
                bytes,
            })
        };
        let uploads = [
            upload(4, 10),
            upload(10, 20_000),
            upload(10, 9_000),
            upload(60, 900_000),
        ];
        for (one, upload) in scene.open.iter_mut().zip(uploads) {
            one.upload = upload;
        }
        assert_eq!(scene.choose(9), Some(2));
        scene.open.remove(2);
        assert_eq!(scene.choose(9), Some(1));
        scene.open.remove(1);
        assert_eq!(scene.choose(9), None);
    }

    #[test]
    fn connections_used_a_moment_ago_are_not_idle() {
        let mut scene = Scene::new();
        scene.add(1, 1, true, false);
        scene.open[0].since = scene.now - Duration::from_millis(900);
        assert_eq!(scene.choose(9), None);
    }
}

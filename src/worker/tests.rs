//! Rounds of the worker over a real store, with a decoder that is told what to
//! answer.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use mockall::Sequence;
use tempfile::TempDir;

use super::attempt::MockDecoder;
use super::*;
use crate::bundle::{self, fixture};
use crate::clock::Moment;
use crate::decode::Report;
use crate::decode::report::{Match, Task};
use crate::device::{DeviceKey, ModelCode};
use crate::ingest::{Ingest, Origin};
use crate::journal::DiskTrouble;
use crate::store::coredumps::{DecodeState, Sidecar, Source};
use crate::store::firmware::Arrival;
use crate::store::publish::{FILE_MODE, replace};

pub(super) struct TestWorker {
    root: TempDir,
    pub(super) ingest: Ingest,
    pub(super) parts: Parts,
    stop: CancellationToken,
}

impl TestWorker {
    pub(super) fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    fn on(root: TempDir) -> Self {
        let limits = bundle::BundleLimits::for_bundles_of(1 << 20);
        let store = Arc::new(Store::open(root.path(), None, None, limits).unwrap());
        let (metrics, config) = (Arc::<Metrics>::default(), Arc::<Config>::default());
        let settings = config.coredumps.clone();
        let ingest = Ingest::new(Arc::clone(&store), Arc::clone(&metrics), settings);
        Self {
            root,
            parts: Parts {
                store,
                crashes: Arc::clone(ingest.crashes()),
                intake: ingest.watch_intake(),
                metrics,
                config: watch::channel(config).1,
                handle: Arc::default(),
            },
            ingest,
            stop: CancellationToken::new(),
        }
    }

    /// The same data after the daemon ended.
    fn restarted(self) -> Self {
        let Self {
            root,
            ingest,
            parts,
            ..
        } = self;
        drop((ingest, parts));
        Self::on(root)
    }

    /// Has `body` come in as a dump of version 1.2.3; its id.
    fn post(&self, body: &[u8], app_elf_sha256: Option<String>) -> String {
        let mut origin = Origin::new(key(), Source::Https, "token");
        origin.model = Some(lamp());
        origin.firmware_version = Some(String::from("1.2.3"));
        origin.app_elf_sha256 = app_elf_sha256;
        self.ingest.coredump(body, origin).unwrap().id
    }

    fn upload(&self, zip: &[u8]) {
        let store = &self.parts.store;
        let mut upload = store.firmware.incoming().unwrap();
        upload.write(zip).unwrap();
        let arrival = Arrival {
            at: Moment::now(),
            sequence: store.coredumps.next_sequence().unwrap(),
            active: None,
            version: None,
            by: None,
        };
        store
            .firmware
            .publish(&lamp(), upload, &arrival, 0)
            .unwrap();
    }

    pub(super) fn sidecar(&self, id: &str) -> Sidecar {
        let coredumps = &self.parts.store.coredumps;
        let (device, stem) = coredumps.locate(id).unwrap();
        coredumps.with(&device, |f| f.sidecar(&stem)).unwrap()
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Sidecar)) {
        let coredumps = &self.parts.store.coredumps;
        let (device, stem) = coredumps.locate(id).unwrap();
        coredumps
            .with(&device, |f| f.change(&stem, change))
            .unwrap();
    }

    fn file(&self, id: &str, extension: &str) -> std::path::PathBuf {
        let (device, stem) = self.parts.store.coredumps.locate(id).unwrap();
        let folder = self.parts.store.coredumps.root().join(device.as_str());
        folder.join(format!("{stem}.{extension}"))
    }

    pub(super) async fn round(&mut self, decoder: &MockDecoder) {
        self.round_after(decoder, &mut Passed::default()).await;
    }

    async fn round_after(&mut self, decoder: &MockDecoder, passed: &mut Passed) {
        round(&mut self.parts, decoder, passed, &self.stop).await;
    }
}

pub(super) fn key() -> DeviceKey {
    "k1".parse().unwrap()
}

pub(super) fn lamp() -> ModelCode {
    "lamp".parse().unwrap()
}

fn put(path: &Path, bytes: &[u8]) {
    let name = path.file_name().unwrap().to_str().unwrap();
    replace(path.parent().unwrap(), name, bytes, FILE_MODE).unwrap();
}

fn report(matched: Match) -> Vec<u8> {
    let mut report = Report::default();
    report.app.matched = matched;
    report.tasks.push(Task::default());
    serde_json::to_vec(&report).unwrap()
}

type Answer = Result<Vec<u8>, DecodeFailed>;

/// A decoder that is asked `times` times and always answers the same.
pub(super) fn decoder(
    times: usize,
    answer: impl Fn() -> Answer + Send + Sync + 'static,
) -> MockDecoder {
    let mut decoder = MockDecoder::new();
    decoder.expect_decode().times(times).returning(move |_, _| {
        let answer = answer();
        Box::pin(async move { answer })
    });
    decoder
}

fn failing(times: usize) -> MockDecoder {
    decoder(times, || {
        Err(DecodeFailed::Failed(String::from("out of memory")))
    })
}

#[tokio::test]
async fn the_newest_dump_is_decoded_first_and_each_once() {
    let mut site = TestWorker::new();
    let ids = [site.post(b"one", None), site.post(b"two", None)];
    let mut decoder = MockDecoder::new();
    let mut order = Sequence::new();
    for body in [b"two", b"one"] {
        decoder
            .expect_decode()
            .times(1)
            .in_sequence(&mut order)
            .withf(move |dump, elf| fs::read(dump).is_ok_and(|read| read == body) && elf.is_none())
            .returning(|_, _| Box::pin(async { Ok(report(Match::None)) }));
    }
    site.round(&decoder).await;
    site.round(&decoder).await;
    for id in ids {
        assert_eq!(site.sidecar(&id).decode, DecodeState::NoElf);
        assert!(site.file(&id, "report.json").exists());
    }
}

#[tokio::test]
async fn a_dump_that_fails_three_times_is_given_up_with_its_reason() {
    let mut site = TestWorker::new();
    let id = site.post(b"bad", None);
    site.round(&failing(1)).await;
    let sidecar = site.sidecar(&id);
    assert_eq!(sidecar.decode, DecodeState::Pending);
    assert_eq!(sidecar.decoding.attempts, 1);
    site = site.restarted();
    site.round(&failing(1)).await;
    site.round(&failing(1)).await;
    site.round(&failing(0)).await;
    let sidecar = site.sidecar(&id);
    assert_eq!(sidecar.decode, DecodeState::Failed);
    assert_eq!(sidecar.decoding.failure.as_deref(), Some("out of memory"));
    assert!(!site.file(&id, "report.json").exists());
}

#[tokio::test]
async fn a_dump_that_was_given_up_is_decoded_again_when_asked_for() {
    let mut site = TestWorker::new();
    let id = site.post(b"bad", None);
    for _ in 0..3 {
        site.round(&failing(1)).await;
    }
    site.change(&id, Sidecar::decode_again);
    site.round(&decoder(1, || Ok(report(Match::Exact)))).await;
    let sidecar = site.sidecar(&id);
    assert_eq!(sidecar.decode, DecodeState::Done);
    assert_eq!(sidecar.decoding, Default::default());
}

#[tokio::test]
async fn after_an_upgrade_dumps_that_were_given_up_are_decoded_again() {
    let mut site = TestWorker::new();
    let id = site.post(b"bad", None);
    for _ in 0..3 {
        site.round(&failing(1)).await;
    }
    let store = &site.parts.store;
    job::after_an_upgrade(store);
    assert_eq!(site.sidecar(&id).decode, DecodeState::Failed, "no upgrade");
    let noted = store.registry.gateway.change(|gateway| {
        gateway.extra.insert("decoded_by".into(), "0.0.1".into());
        Ok::<_, std::convert::Infallible>(())
    });
    noted.unwrap().unwrap();
    job::after_an_upgrade(store);
    assert_eq!(site.sidecar(&id).decoding.attempts, 0);
    site.round(&decoder(1, || Ok(report(Match::None)))).await;
    assert_eq!(site.sidecar(&id).decode, DecodeState::NoElf);
}

#[tokio::test]
async fn a_dump_that_fails_does_not_keep_others_waiting() {
    let mut site = TestWorker::new();
    let good = site.post(b"good", None);
    let bad = site.post(b"bad", None);
    site.round(&failing(2)).await;
    site.change(&good, Sidecar::decode_again);
    let mut decoder = MockDecoder::new();
    let mut order = Sequence::new();
    for body in [b"good".as_slice(), b"bad"] {
        decoder
            .expect_decode()
            .times(1)
            .in_sequence(&mut order)
            .withf(move |dump, _| fs::read(dump).unwrap() == body)
            .returning(|_, _| Box::pin(async { Ok(report(Match::None)) }));
    }
    site.round(&decoder).await;
    assert_eq!(site.sidecar(&bad).decoding.attempts, 0);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_decode_is_no_attempt() {
    let mut site = TestWorker::new();
    let id = site.post(b"slow", None);
    let mut decoder = MockDecoder::new();
    let (stop, held) = (site.stop.clone(), Arc::new(AtomicBool::new(false)));
    let (store, was_held, of) = (Arc::clone(&site.parts.store), Arc::clone(&held), id.clone());
    decoder.expect_decode().times(1).returning(move |_, _| {
        was_held.store(
            store.coredumps.is_held(&of.as_str().into()),
            Ordering::Relaxed,
        );
        stop.cancel();
        Box::pin(std::future::pending())
    });
    site.round(&decoder).await;
    assert!(held.load(Ordering::Relaxed), "the rules must not remove it");
    assert!(!site.parts.store.coredumps.is_held(&id.as_str().into()));
    let sidecar = site.sidecar(&id);
    assert_eq!(sidecar.decode, DecodeState::Pending);
    assert_eq!(sidecar.decoding, Default::default());
}

#[tokio::test]
async fn a_decoder_that_cannot_be_started_costs_no_dump_an_attempt() {
    let mut site = TestWorker::new();
    let ids = [site.post(b"one", None), site.post(b"two", None)];
    for _ in 0..5 {
        // one try tells it of all
        let decoder = decoder(1, || {
            Err(DecodeFailed::NotStarted(String::from("no memory")))
        });
        site.round(&decoder).await;
    }
    for id in ids {
        assert_eq!(site.sidecar(&id).decode, DecodeState::Pending);
        assert_eq!(site.sidecar(&id).decoding.attempts, 0);
    }
}

#[tokio::test]
async fn a_dump_whose_attempt_cannot_be_written_down_is_not_decoded() {
    let mut site = TestWorker::new();
    let id = site.post(b"one", None);
    let sidecar = site.file(&id, "json");
    let whole = fs::read(&sidecar).unwrap();
    // a folder in its place: neither read nor replaced
    fs::remove_file(&sidecar).unwrap();
    fs::create_dir(&sidecar).unwrap();
    site.round(&failing(0)).await;
    fs::remove_dir(&sidecar).unwrap();
    put(&sidecar, &whole);
    assert_eq!(site.sidecar(&id).decoding.attempts, 0);
    site.round(&failing(1)).await;
}

#[tokio::test]
async fn a_dump_that_is_deleted_while_it_is_decoded_leaves_no_report() {
    let mut site = TestWorker::new();
    let id = site.post(b"one", None);
    let folder = site.file(&id, "dmp").parent().unwrap().to_owned();
    let (store, stem) = (
        Arc::clone(&site.parts.store),
        site.parts.store.coredumps.locate(&id).unwrap().1,
    );
    let decoder = decoder(1, move || {
        let removed = store.coredumps.with(&key(), |f| f.remove(&stem));
        assert!(removed.unwrap().is_some());
        Ok(report(Match::None))
    });
    site.round(&decoder).await;
    let left: Vec<_> = fs::read_dir(folder).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_report_is_not_replaced_by_one_with_a_weaker_match() {
    let mut site = TestWorker::new();
    let id = site.post(b"one", None);
    site.round(&decoder(1, || Ok(report(Match::Exact)))).await;
    let before = fs::read(site.file(&id, "report.json")).unwrap();
    site.change(&id, Sidecar::decode_again);
    site.round(&decoder(1, || Ok(report(Match::None)))).await;
    assert_eq!(fs::read(site.file(&id, "report.json")).unwrap(), before);
    assert_eq!(site.sidecar(&id).decode, DecodeState::Done);
}

#[tokio::test]
async fn an_elf_that_does_not_fit_is_tried_once() {
    let mut site = TestWorker::new();
    let id = site.post(b"one", None);
    site.round(&decoder(1, || Ok(report(Match::None)))).await;
    let build = fixture::Build::of("lamp");
    site.upload(&build.zip());
    let mut decoder = MockDecoder::new();
    decoder
        .expect_decode()
        .times(1)
        .withf(|_, elf: &Option<&Path>| elf.is_some())
        .returning(|_, _| Box::pin(async { Ok(report(Match::Mismatch)) }));
    site.round(&decoder).await;
    site = site.restarted();
    site.round(&decoder).await;
    let tried = crate::digest::Sha256::of(&build.elf());
    assert!(site.sidecar(&id).decoding.is_misfit(tried));
    // another build of that version may fit
    let other = fixture::Build { seed: 7, ..build };
    site.upload(&other.zip());
    let fits = self::decoder(1, || Ok(report(Match::Unverified)));
    site.round(&fits).await;
    assert_eq!(site.sidecar(&id).decode, DecodeState::Done);
}

#[tokio::test]
async fn a_bundle_that_cannot_be_read_costs_its_dumps_one_attempt_each() {
    let mut site = TestWorker::new();
    let build = fixture::Build::of("lamp");
    let zip = build.zip();
    site.upload(&zip);
    let stored = site.root.path().join("assets/lamp/firmware-1.2.3.zip");
    // as long as before: a start looks no closer
    put(&stored, &vec![0; zip.len()]);
    let hash = Some(crate::digest::Sha256::of(&build.elf()).short(9));
    let ids = [
        site.post(b"one", hash.clone()),
        site.post(b"two", hash.clone()),
    ];
    let mut passed = Passed::default();
    let without = decoder(2, || Ok(report(Match::None)));
    site.round_after(&without, &mut passed).await;
    for _ in 0..3 {
        site.round_after(&without, &mut passed).await;
    }
    // a restart does not begin anew either
    site = site.restarted();
    site.round(&without).await;
    // whole again, and somebody says so
    put(&stored, &zip);
    passed.forget_unreadable();
    let with = decoder(2, || Ok(report(Match::Exact)));
    site.round_after(&with, &mut passed).await;
    for id in ids {
        assert_eq!(site.sidecar(&id).decode, DecodeState::Done);
    }
}

#[tokio::test]
async fn a_dump_in_a_state_of_a_newer_release_is_left_alone() {
    let mut site = TestWorker::new();
    let id = site.post(b"one", None);
    let mut value: serde_json::Value =
        serde_json::from_slice(&fs::read(site.file(&id, "json")).unwrap()).unwrap();
    value["decode"] = "postponed".into();
    put(&site.file(&id, "json"), value.to_string().as_bytes());
    site = site.restarted();
    site.round(&failing(0)).await;
    site.change(&id, Sidecar::decode_again);
    site.round(&decoder(1, || Ok(report(Match::None)))).await;
}

#[test]
fn a_disk_that_has_room_again_is_told_once() {
    let site = TestWorker::new();
    Event::DiskFull.entry().about(&"a test").say("full");
    assert_eq!(disk_trouble(), Some(DiskTrouble::Full));
    look_at_disk(&site.parts);
    assert_eq!(disk_trouble(), None);
}

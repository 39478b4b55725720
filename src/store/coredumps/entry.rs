//! What the index holds of one dump. There may be very many: in few bytes.

use std::sync::{Arc, LazyLock};

use time::OffsetDateTime;

use super::super::registry::Gateway;
use super::sidecar::{DecodeState, Decoding, Sidecar, Source};
use crate::coredump::Verdict;
use crate::digest::Sha256;
use crate::store::compact::{DumpId, Fingerprint, Stamp, Stem};
use crate::store::open_enum::OpenEnum;
use crate::store::shared::{self, Pool};

/// What the index holds of one dump.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// File name without extension.
    pub stem: Stem,
    pub id: DumpId,
    pub sequence: u64,
    /// Bytes of the dump and of the files beside it.
    pub bytes: u64,
    pub fingerprint: Option<Fingerprint>,
    /// Id of its crash group when it was written.
    pub crash: Option<Arc<str>>,
    pub uploaded_at: Stamp,
    /// Shared with other dumps of the same.
    pub origin: Arc<DumpOrigin>,
    rare: Option<Box<Rare>>,
    /// [`u64::MAX`] if it is not known.
    monotonic_us: u64,
    source: Option<Source>,
    decode: Option<DecodeState>,
    pub verdict: Verdict,
    /// Whether a person asked for it.
    pub requested: bool,
    /// Whether the device showed a fleet's token and none of its own.
    pub by_fleet_token: bool,
    /// Whether it came after a time in which the gateway was not reachable.
    pub during_outage: bool,
}

/// What few dumps have.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rare {
    /// How decoding went, unless that is still to come.
    decoding: Decoding,
    /// A source that only a newer release knows.
    source: Option<String>,
}

/// Which build of what a dump is of, and in which boot of the gateway it came.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct DumpOrigin {
    pub model_code: Option<Arc<str>>,
    pub firmware_version: Option<Arc<str>>,
    pub app_elf_sha256: Option<Arc<str>>,
    pub boot_id: Option<Arc<str>>,
}

impl Entry {
    /// The index entry of a sidecar; `bytes` is what all its files take.
    pub fn of(stem: &str, sidecar: &Sidecar, bytes: u64) -> Self {
        static ORIGINS: LazyLock<Pool<DumpOrigin>> = LazyLock::new(Pool::default);
        let origin = DumpOrigin {
            model_code: shared::maybe(sidecar.model_code.as_deref()),
            firmware_version: shared::maybe(sidecar.firmware_version.as_deref()),
            app_elf_sha256: shared::maybe(sidecar.app_elf_sha256.as_deref()),
            boot_id: shared::maybe(sidecar.boot_id.as_deref()),
        };
        let rare = Rare {
            decoding: sidecar.decoding.clone(),
            source: match &sidecar.source {
                OpenEnum::Known(_) => None,
                OpenEnum::Unknown(word) => Some(word.clone()),
            },
        };
        Self {
            stem: stem.into(),
            id: DumpId::from(&sidecar.id),
            sequence: sidecar.sequence,
            bytes,
            fingerprint: sidecar.fingerprint.as_ref().map(Fingerprint::from),
            crash: shared::maybe(sidecar.crash.as_deref()),
            uploaded_at: Stamp::from(&sidecar.uploaded_at),
            origin: ORIGINS.share(origin),
            rare: (rare != Rare::default()).then(|| Box::new(rare)),
            monotonic_us: sidecar.monotonic_us.unwrap_or(u64::MAX),
            source: sidecar.source.known(),
            decode: sidecar.decode.known(),
            verdict: Verdict::from_word(&sidecar.verdict).unwrap_or(Verdict::NotACoredump),
            requested: sidecar.requested,
            by_fleet_token: sidecar.identity == "fleet-token",
            during_outage: sidecar.gateway_unreachable_s.is_some(),
        }
    }

    pub fn model_code(&self) -> Option<&str> {
        self.origin.model_code.as_deref()
    }

    pub fn firmware_version(&self) -> Option<&str> {
        self.origin.firmware_version.as_deref()
    }

    /// Hash of the application's ELF, or its first digits, as in the dump.
    pub fn app_elf_sha256(&self) -> Option<&str> {
        self.origin.app_elf_sha256.as_deref()
    }

    /// Microseconds since the boot [`DumpOrigin::boot_id`].
    pub fn monotonic_us(&self) -> Option<u64> {
        Some(self.monotonic_us).filter(|since| *since != u64::MAX)
    }

    /// Where it came from.
    pub fn source(&self) -> OpenEnum<Source> {
        let word = || self.rare.as_ref()?.source.clone();
        match self.source {
            Some(source) => source.into(),
            None => OpenEnum::Unknown(word().unwrap_or_default()),
        }
    }

    /// Whether it came from there.
    pub fn is_from(&self, source: Source) -> bool {
        self.source == Some(source)
    }

    /// How far decoding came; `None` for a word of a newer release.
    pub fn decode(&self) -> Option<DecodeState> {
        self.decode
    }

    /// How often decoding was tried.
    pub fn attempts(&self) -> u32 {
        self.rare.as_ref().map_or(0, |rare| rare.decoding.attempts)
    }

    /// Whether this ELF was tried, and did not fit.
    pub fn is_misfit(&self, elf: Sha256) -> bool {
        self.rare
            .as_ref()
            .is_some_and(|rare| rare.decoding.is_misfit(elf))
    }

    /// When the dump came: by what is known of its boot since, else as the clock
    /// said then.
    pub fn came_at(&self, gateway: &Gateway) -> Option<OffsetDateTime> {
        let known = self.origin.boot_id.as_deref().zip(self.monotonic_us());
        known
            .and_then(|(boot, since)| gateway.time_of(boot, since))
            .or_else(|| self.uploaded_at.time())
    }
}

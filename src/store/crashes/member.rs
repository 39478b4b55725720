//! Fingerprints of a crash group. There may be very many: in few bytes.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::group::{At, Origin};
use super::seen_on::SeenOn;
use crate::store::compact::{self, Fingerprint};
use crate::store::open_enum::OpenEnum;
use crate::store::shared::{self, Pool};

/// A fingerprint of a group: one way to crash, in one build. What it has in common
/// with others is in its [`Facts`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(from = "MemberFile", into = "MemberFile")]
pub struct Member {
    pub fingerprint: Fingerprint,
    /// Of its signature, in the form of a fingerprint.
    pub variant: Option<Fingerprint>,
    pub at: At,
    pub devices: SeenOn,
    facts: Arc<Facts>,
    /// Why it is in the group; for those who read the file.
    pub origin: Origin,
    /// Whether a dump of it was decoded, with or without an ELF, or cannot be.
    pub decoded: bool,
    /// Whether the blamed stack has functions of the client that talks to the gateway.
    pub gateway_client: bool,
}

/// What fingerprints of one bug in one build have in common.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Facts {
    pub algorithm: Option<u32>,
    /// Hash of the application's ELF, or its first digits, as in the dump.
    pub app_elf_sha256: Option<Arc<str>>,
    pub version: Option<Arc<str>>,
    /// Ids of the stored builds with that ELF.
    pub builds: Vec<Arc<str>>,
    pub panic_reason: Option<Arc<str>>,
    pub task: Option<Arc<str>>,
    /// Id of its signature; the group's aliases have the rest.
    pub signature: Option<Arc<str>>,
    /// Fields of a newer release.
    pub extra: Map<String, Value>,
}

static FACTS: LazyLock<Pool<Facts>> = LazyLock::new(Pool::default);

impl Member {
    /// A fingerprint that was not seen yet.
    pub fn new(fingerprint: Fingerprint, at: At, facts: Facts) -> Self {
        Self {
            fingerprint,
            variant: None,
            at,
            devices: SeenOn::default(),
            facts: FACTS.share(facts),
            origin: Origin::Auto,
            decoded: false,
            gateway_client: false,
        }
    }

    /// Changes its facts, which others keep as they are.
    pub fn change(&mut self, change: impl FnOnce(&mut Facts)) {
        let mut facts = Facts::clone(&self.facts);
        change(&mut facts);
        self.facts = FACTS.share(facts);
    }

    /// Crashes that the gateway caused by not being reachable.
    pub fn gateway_induced(&self) -> u64 {
        match self.gateway_client {
            true => self.devices.values().map(|seen| seen.during_outage).sum(),
            false => 0,
        }
    }

    /// When it was last seen.
    pub fn last_seen(&self) -> At {
        let seen = self.devices.values().map(|seen| seen.last_seen);
        seen.max().unwrap_or(self.at)
    }
}

impl Deref for Member {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

/// A fingerprint in a group's file.
#[derive(Deserialize, Serialize)]
struct MemberFile {
    fingerprint: Fingerprint,
    algorithm: Option<u32>,
    origin: OpenEnum<Origin>,
    at: At,
    app_elf_sha256: Option<Arc<str>>,
    version: Option<Arc<str>>,
    builds: Vec<Arc<str>>,
    panic_reason: Option<Arc<str>>,
    task: Option<Arc<str>>,
    decoded: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gateway_client: bool,
    signature: Option<Arc<str>>,
    variant: Option<Fingerprint>,
    devices: SeenOn,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl From<MemberFile> for Member {
    fn from(file: MemberFile) -> Self {
        let facts = Facts {
            algorithm: file.algorithm,
            app_elf_sha256: shared::maybe(file.app_elf_sha256.as_deref()),
            version: shared::maybe(file.version.as_deref()),
            builds: file.builds.iter().map(|id| shared::text(id)).collect(),
            panic_reason: shared::maybe(file.panic_reason.as_deref()),
            task: shared::maybe(file.task.as_deref()),
            signature: shared::maybe(file.signature.as_deref()),
            extra: file.extra,
        };
        Self {
            variant: file.variant,
            devices: file.devices,
            origin: file.origin.known().unwrap_or(Origin::Auto),
            decoded: file.decoded,
            gateway_client: file.gateway_client,
            ..Self::new(file.fingerprint, file.at, facts)
        }
    }
}

impl From<Member> for MemberFile {
    fn from(member: Member) -> Self {
        let Facts {
            algorithm,
            app_elf_sha256,
            version,
            builds,
            panic_reason,
            task,
            signature,
            extra,
        } = Facts::clone(&member.facts);
        Self {
            fingerprint: member.fingerprint,
            algorithm,
            origin: member.origin.into(),
            at: member.at,
            app_elf_sha256,
            version,
            builds,
            panic_reason,
            task,
            decoded: member.decoded,
            gateway_client: member.gateway_client,
            signature,
            variant: member.variant,
            devices: member.devices,
            extra,
        }
    }
}

/// The fingerprints of a group, ordered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members(Vec<Member>);

impl Members {
    fn place(&self, fingerprint: &Fingerprint) -> Result<usize, usize> {
        self.0
            .binary_search_by(|member| member.fingerprint.cmp(fingerprint))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, fingerprint: &Fingerprint) -> Option<&Member> {
        self.0.get(self.place(fingerprint).ok()?)
    }

    pub fn get_mut(&mut self, fingerprint: &Fingerprint) -> Option<&mut Member> {
        let at = self.place(fingerprint).ok()?;
        self.0.get_mut(at)
    }

    pub fn contains(&self, fingerprint: &Fingerprint) -> bool {
        self.place(fingerprint).is_ok()
    }

    pub fn keys(&self) -> impl Iterator<Item = &Fingerprint> {
        self.0.iter().map(|member| &member.fingerprint)
    }

    pub fn values(&self) -> impl Iterator<Item = &Member> {
        self.0.iter()
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.0.iter_mut()
    }

    pub fn into_values(self) -> impl Iterator<Item = Member> {
        self.0.into_iter()
    }

    /// Adds a fingerprint, in place of the one that is called the same.
    pub fn insert(&mut self, member: Member) {
        match self.place(&member.fingerprint) {
            Ok(at) => {
                if let Some(before) = self.0.get_mut(at) {
                    *before = member;
                }
            }
            Err(at) => compact::insert(&mut self.0, at, member),
        }
    }

    pub fn remove(&mut self, fingerprint: &Fingerprint) -> Option<Member> {
        let at = self.place(fingerprint).ok()?;
        Some(self.0.remove(at))
    }
}

#[cfg(test)]
impl std::ops::Index<&str> for Members {
    type Output = Member;

    fn index(&self, fingerprint: &str) -> &Member {
        self.get(&fingerprint.into()).unwrap()
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = self.0.iter();
        serializer.collect_map(named.map(|member| (&member.fingerprint, member)))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = BTreeMap::<Fingerprint, Member>::deserialize(deserializer)?;
        let mut members = Vec::with_capacity(read.len());
        members.extend(read.into_iter().map(|(fingerprint, member)| Member {
            fingerprint,
            ..member
        }));
        Ok(Self(members))
    }
}

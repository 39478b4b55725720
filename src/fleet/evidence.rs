//! What a device runs, has or crashed with, from what it says and does. Versions are
//! labels that builds may share, and builds may share an ELF: each kind of evidence
//! has its certainty.

use crate::build_id::BuildId;
use crate::digest::Sha256;
use crate::store::firmware::Build;
use crate::store::registry::activity::Certainty;

/// Shortest hash or id that is taken for one, in digits.
const MIN_DIGITS: usize = 8;

/// Kind of evidence.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// The boot messages on its console.
    Banner,
    /// `running=` of a request.
    Running,
    /// The headers of Arduino's update client.
    UpdateClient,
    /// `firmware_version=` of a dump's upload.
    Upload,
    /// It fetched the image, read its description and hung up: it compared.
    HangUp,
    /// It showed the image's ETag.
    Etag,
    /// Every byte of the image was delivered to it.
    Delivery,
    /// A dump with the hash of the application's ELF.
    Dump,
}

impl Kind {
    /// The word in registers and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Banner => "banner",
            Self::Running => "running",
            Self::UpdateClient => "update-client",
            Self::Upload => "upload",
            Self::HangUp => "hang-up",
            Self::Etag => "etag",
            Self::Delivery => "delivery",
            Self::Dump => "dump",
        }
    }

    fn says(self) -> Says {
        match self {
            Self::Banner | Self::Running | Self::UpdateClient | Self::Upload | Self::HangUp => {
                Says::Runs
            }
            Self::Etag | Self::Delivery => Says::Has,
            Self::Dump => Says::Crashed,
        }
    }
}

/// How the evidence names a build.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Names<'a> {
    /// The hash of the application's ELF, or its first digits, and what it calls itself.
    AppElf {
        hash: &'a str,
        version: Option<&'a str>,
    },
    Version(&'a str),
    /// The digest at the end of the image.
    Appended(Sha256),
    /// What stands in `running=`: digits of the build's id or of the hash of its
    /// ELF, or its version.
    Any(&'a str),
    Build(BuildId),
}

/// What evidence says of a build.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Says {
    Runs,
    Has,
    Crashed,
}

/// The conclusion from one piece of evidence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    pub kind: Kind,
    pub says: Says,
    pub certainty: Certainty,
    /// `None`: no stored build fits, or more than one does.
    pub build_id: Option<BuildId>,
    pub version: Option<String>,
    pub app_elf_sha256: Option<String>,
}

/// Concludes from evidence. `builds` are the stored ones of the device's model,
/// newest first.
pub fn conclude(kind: Kind, names: Names<'_>, builds: &[Build]) -> Option<Finding> {
    match names {
        Names::AppElf { hash, version } => {
            let Some(hash) = hex(hash) else {
                return by_version(kind, version?, builds);
            };
            let mut finding = by_hash(kind, &hash, builds)?;
            let said = || version.map(str::to_owned);
            finding.version = finding.version.or_else(said);
            Some(finding)
        }
        Names::Version(version) => by_version(kind, version, builds),
        Names::Appended(digest) => {
            let is_it = |build: &&Build| build.bin_appended_sha256 == Some(digest);
            Some(of(kind, Certainty::Exact, builds.iter().find(is_it)?))
        }
        Names::Any(text) => {
            let digits = hex(text).filter(|digits| digits.len() >= MIN_DIGITS);
            let by_digits = digits.and_then(|digits| by_any_digits(kind, &digits, builds));
            by_digits.or_else(|| by_version(kind, text, builds))
        }
        Names::Build(id) => {
            let certainty = match kind {
                Kind::HangUp => Certainty::Likely,
                _ => Certainty::Exact,
            };
            let build = builds.iter().find(|build| build.id() == id);
            Some(match build {
                Some(build) => of(kind, certainty, build),
                None => Finding {
                    build_id: Some(id),
                    ..unknown(kind, certainty)
                },
            })
        }
    }
}

/// Lower-case hex digits; `None` for anything else, and for a hash of zeros, which
/// an image without one has.
fn hex(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let is_hash = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hash && text.len() <= 64 && text.bytes().any(|byte| byte != b'0')).then_some(text)
}

fn by_hash(kind: Kind, hash: &str, builds: &[Build]) -> Option<Finding> {
    let mut fits = builds.iter().filter(|build| build.made(hash));
    let mut finding = match (fits.next(), fits.next()) {
        (Some(build), None) => of(kind, Certainty::Exact, build),
        // the same program signed again: which image it is, is not known
        (Some(newest), Some(_)) => of(kind, Certainty::Likely, newest),
        (None, _) => unknown(kind, Certainty::Exact),
    };
    finding.app_elf_sha256 = Some(hash.to_owned());
    Some(finding)
}

fn by_any_digits(kind: Kind, digits: &str, builds: &[Build]) -> Option<Finding> {
    let mut ids = builds.iter().filter(|build| build.id().has_prefix(digits));
    match (ids.next(), ids.next()) {
        (Some(build), None) => return Some(of(kind, Certainty::Exact, build)),
        (Some(_), Some(_)) => return None,
        (None, _) => {}
    }
    let is_stored = builds.iter().any(|build| build.made(digits));
    // a version may be a date; hashes without a letter are rare
    let is_hash = digits.bytes().any(|digit| !digit.is_ascii_digit());
    (is_stored || is_hash).then(|| by_hash(kind, digits, builds))?
}

fn by_version(kind: Kind, version: &str, builds: &[Build]) -> Option<Finding> {
    if version.is_empty() {
        return None;
    }
    let mut fits = builds
        .iter()
        .filter(|build| build.version.as_str() == version);
    let finding = match (fits.next(), fits.next()) {
        (Some(build), None) => of(kind, Certainty::Likely, build),
        _ => Finding {
            version: Some(version.to_owned()),
            ..unknown(kind, Certainty::Likely)
        },
    };
    Some(finding)
}

fn of(kind: Kind, certainty: Certainty, build: &Build) -> Finding {
    Finding {
        build_id: Some(build.id()),
        version: Some(build.version.to_string()),
        ..unknown(kind, certainty)
    }
}

fn unknown(kind: Kind, certainty: Certainty) -> Finding {
    Finding {
        kind,
        says: kind.says(),
        certainty,
        build_id: None,
        version: None,
        app_elf_sha256: None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A stored build: its id, the hash of its ELF and the digest at its end are made of
    /// one digit each.
    pub(in crate::fleet) fn build(id: char, version: &str, elf: char) -> Build {
        let digest = |digit: char| digit.to_string().repeat(64);
        serde_json::from_value(serde_json::json!({
            "schema": 1, "name": version, "version": version, "kind": "bin", "size": 1000,
            "sha256": digest(id), "bin_size": 1000, "bin_sha256": digest(id),
            "bin_appended_sha256": digest('e'),
            "app_elf_sha256": digest(elf), "elf_sha256": null, "chip": null, "project": null,
            "idf_version": null, "git_commit": null, "built_at": null, "secure_version": 0,
            "warnings": [], "uploaded_at": "", "sequence": 1,
        }))
        .unwrap()
    }

    pub(in crate::fleet) fn elf(hash: &str) -> Names<'_> {
        Names::AppElf {
            hash,
            version: None,
        }
    }

    #[test]
    fn each_kind_of_evidence_says_what_it_can_prove() {
        use Certainty::{Exact, Likely};
        use Says::{Crashed, Has, Runs};
        let builds = [
            build('4', "2.0", 'd'),
            build('3', "1.1", 'c'),
            build('2', "1.0", 'b'),
            build('1', "1.0", 'a'),
            build('5', "0.9", 'd'),
        ];
        let id = |digit: char| {
            builds
                .iter()
                .map(Build::id)
                .find(|b| b.to_string().starts_with(digit))
        };
        let appended = "e".repeat(64).parse().unwrap();
        for (kind, names, expected) in [
            (Kind::Banner, elf("cccccccc9"), Some((Runs, Exact, None))),
            (Kind::Banner, elf("ccccccccc"), Some((Runs, Exact, id('3')))),
            (Kind::Banner, elf("CCCC"), Some((Runs, Exact, id('3')))),
            (
                Kind::Banner,
                elf("ddddddddd"),
                Some((Runs, Likely, id('4'))),
            ),
            (Kind::Banner, elf("000000000"), None),
            (
                Kind::Banner,
                Names::Version("1.1"),
                Some((Runs, Likely, id('3'))),
            ),
            (
                Kind::Banner,
                Names::Version("1.0"),
                Some((Runs, Likely, None)),
            ),
            (
                Kind::Banner,
                Names::Version("7"),
                Some((Runs, Likely, None)),
            ),
            (Kind::Banner, Names::Version(""), None),
            (
                Kind::Running,
                Names::Any("33333333"),
                Some((Runs, Exact, id('3'))),
            ),
            (
                Kind::Running,
                Names::Any("3333333"),
                Some((Runs, Likely, None)),
            ),
            (
                Kind::Running,
                Names::Any("bbbbbbbbb"),
                Some((Runs, Exact, id('2'))),
            ),
            (
                Kind::Running,
                Names::Any("dddddddd"),
                Some((Runs, Likely, id('4'))),
            ),
            (
                Kind::Running,
                Names::Any("abcdef012"),
                Some((Runs, Exact, None)),
            ),
            (
                Kind::Running,
                Names::Any("20260211"),
                Some((Runs, Likely, None)),
            ),
            (
                Kind::Running,
                Names::Any("1.1"),
                Some((Runs, Likely, id('3'))),
            ),
            (Kind::Running, Names::Any("1.0"), Some((Runs, Likely, None))),
            (
                Kind::UpdateClient,
                Names::Appended(appended),
                Some((Runs, Exact, id('4'))),
            ),
            (
                Kind::UpdateClient,
                Names::Version("2.0"),
                Some((Runs, Likely, id('4'))),
            ),
            (
                Kind::Upload,
                Names::Version("0.9"),
                Some((Runs, Likely, id('5'))),
            ),
            (
                Kind::HangUp,
                Names::Build(builds[1].id()),
                Some((Runs, Likely, id('3'))),
            ),
            (
                Kind::Etag,
                Names::Build(builds[1].id()),
                Some((Has, Exact, id('3'))),
            ),
            (
                Kind::Delivery,
                Names::Build(builds[2].id()),
                Some((Has, Exact, id('2'))),
            ),
            (
                Kind::Dump,
                elf("aaaaaaaaa"),
                Some((Crashed, Exact, id('1'))),
            ),
            (Kind::Dump, elf("dddd"), Some((Crashed, Likely, id('4')))),
        ] {
            let found = conclude(kind, names, &builds);
            let found = found.map(|f| (f.says, f.certainty, f.build_id));
            assert_eq!(found, expected, "{kind:?} {names:?}");
        }
    }

    #[test]
    fn what_no_stored_build_fits_keeps_its_name() {
        let found = |names| conclude(Kind::Running, names, &[]).unwrap();
        assert_eq!(found(Names::Any("1.2.3")).version.as_deref(), Some("1.2.3"));
        let hash = found(Names::Any("1B43C5E74"));
        assert_eq!(hash.app_elf_sha256.as_deref(), Some("1b43c5e74"));
        assert_eq!(hash.version, None);
    }
}

//! Loads certificate and key from files, and creates what is missing or due.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use super::chain::{self, Facts};
use super::site_ca::{self, Authority};
use super::{Error, Result, names, server_certificate};
use crate::api::tls::Source;
use crate::config::Tls as Settings;
use crate::journal::Event;
use crate::store::publish;

pub(super) const SERVER_FILE: &str = "server.pem";
const SERVER_KEY_FILE: &str = "server.key";
/// A chain from the user's own CA, for the server's key.
pub(super) const INSTALLED_FILE: &str = "installed.pem";

/// A certificate that can be served.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) source: Source,
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) facts: Facts,
    pub(super) authority: Option<Facts>,
    /// That CA's certificate, if it is known here.
    pub(super) ca_pem: Option<String>,
    /// Whether this call made it.
    pub(super) made: Option<server_certificate::Reason>,
}

/// The certificate to serve by these settings, made if need be.
pub(super) fn load(folder: &Path, settings: &Settings, now: OffsetDateTime) -> Result<Loaded> {
    names::check(&settings.names)?;
    match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => {
            let (place, key_place) = (cert.display().to_string(), key.display().to_string());
            let (facts, ders) = split(chain::parse(&chain::read(cert)?, &place)?, &place)?;
            let certified = chain::certified(ders, &chain::read(key)?, &place, &key_place)?;
            return Ok(Loaded {
                source: Source::Configured,
                certified,
                facts,
                authority: None,
                ca_pem: None,
                made: None,
            });
        }
        (None, None) => {}
        _ => return Err(Error::Half("tls.cert", "tls.key")),
    }
    let chosen = folder.join(INSTALLED_FILE);
    if chosen.exists() {
        let place = chosen.display().to_string();
        let (facts, certified) = installed(folder, &chain::read(&chosen)?, &place)?;
        return Ok(Loaded {
            source: Source::Installed,
            certified,
            facts,
            authority: None,
            ca_pem: None,
            made: None,
        });
    }
    own(folder, settings, now)
}

/// The certificate created by espgate.
fn own(folder: &Path, settings: &Settings, now: OffsetDateTime) -> Result<Loaded> {
    let authority = authority(folder, settings)?;
    let key = match server_key(folder) {
        // Devices trust the CA, so a new key works too.
        Err(Error::Key { place, why }) => {
            let aside = publish::set_aside(&folder.join(SERVER_KEY_FILE))?;
            Event::StoreRepaired.entry().say(format_args!(
                "invalid key in {place} ({why}): renamed to {}, created a new key",
                aside.display()
            ));
            server_key(folder)?
        }
        key => key?,
    };
    let wanted = names::wanted(&settings.names);
    let path = folder.join(SERVER_FILE);
    let place = path.display().to_string();
    let certify = |pem: &[u8]| {
        let (facts, ders) = split(chain::parse(pem, &place)?, &place)?;
        let key_pem = key.serialize_pem();
        let certified = chain::certified(ders, key_pem.as_bytes(), &place, SERVER_KEY_FILE)?;
        Ok::<_, Error>((facts, certified))
    };
    let missing = match path.exists() {
        true => server_certificate::Reason::Unreadable,
        false => server_certificate::Reason::Absent,
    };
    // An unreadable certificate of ours is created again; the key stays.
    let present = chain::read(&path).and_then(|pem| certify(&pem)).ok();
    let reason = present.as_ref().map_or(Some(missing), |(facts, _)| {
        server_certificate::why_anew(facts, &authority.facts, &wanted, now)
    });
    let (facts, certified) = match (present, reason) {
        (Some(present), None) => present,
        _ => {
            let mut pem = server_certificate::make(&authority, &key, &wanted, now)?;
            if !authority.facts.is_root() {
                // Devices know the root above it; the rest of the way is ours to show.
                pem.push_str(&authority.pem);
            }
            publish::replace(folder, SERVER_FILE, pem.as_bytes(), publish::SECRET_MODE)?;
            certify(pem.as_bytes())?
        }
    };
    Ok(Loaded {
        source: if settings.ca_cert.is_some() {
            Source::ConfiguredCa
        } else {
            Source::SiteCa
        },
        certified,
        facts,
        authority: Some(authority.facts),
        ca_pem: Some(authority.pem),
        made: reason,
    })
}

fn authority(folder: &Path, settings: &Settings) -> Result<Authority> {
    match (&settings.ca_cert, &settings.ca_key) {
        (Some(cert), Some(key)) => Authority::read(cert, key),
        (None, None) => Authority::of_site(folder),
        _ => Err(Error::Half("tls.ca_cert", "tls.ca_key")),
    }
}

/// The server's key, created once.
pub(super) fn server_key(folder: &Path) -> Result<KeyPair> {
    let path = folder.join(SERVER_KEY_FILE);
    if path.exists() {
        return site_ca::read_key(&path);
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Make)?;
    publish::replace(
        folder,
        SERVER_KEY_FILE,
        key.serialize_pem().as_bytes(),
        publish::SECRET_MODE,
    )?;
    Ok(key)
}

/// Checks a chain that was signed elsewhere against the server's key.
pub(super) fn installed(
    folder: &Path,
    pem: &[u8],
    place: &str,
) -> Result<(Facts, Arc<CertifiedKey>)> {
    let (facts, ders) = split(chain::parse(pem, place)?, place)?;
    let key = server_key(folder)?;
    let certified = chain::certified(
        ders,
        key.serialize_pem().as_bytes(),
        place,
        &folder.join(SERVER_KEY_FILE).display().to_string(),
    )?;
    Ok((facts, certified))
}

type Ders = Vec<CertificateDer<'static>>;

/// The first certificate's facts, and all of the chain.
fn split(chain: Vec<(CertificateDer<'static>, Facts)>, place: &str) -> Result<(Facts, Ders)> {
    let facts = chain.first().map(|(_, facts)| facts.clone());
    let ders = chain.into_iter().map(|(der, _)| der).collect();
    facts
        .map(|facts| (facts, ders))
        .ok_or_else(|| Error::Chain {
            place: place.to_owned(),
            why: String::from("empty file"),
        })
}

pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(crate::store::Error::io("remove", path, source).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_certificate_is_made_is_said_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let now = crate::clock::plausible();
        let why = || own(folder.path(), &settings, now).unwrap().made;
        assert_eq!(why(), Some(server_certificate::Reason::Absent));
        assert_eq!(why(), None);
        let mode = publish::SECRET_MODE;
        publish::replace(folder.path(), SERVER_FILE, b"x", mode).unwrap();
        assert_eq!(why(), Some(server_certificate::Reason::Unreadable));
    }

    #[test]
    fn a_damaged_server_key_is_set_aside_and_the_ca_stays() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let now = crate::clock::plausible();
        let before = own(folder.path(), &settings, now).unwrap();
        publish::replace(
            folder.path(),
            SERVER_KEY_FILE,
            b"\xff",
            publish::SECRET_MODE,
        )
        .unwrap();
        let after = own(folder.path(), &settings, now).unwrap();
        let ca = |loaded: &Loaded| loaded.authority.as_ref().unwrap().fingerprint.clone();
        assert_eq!(ca(&before), ca(&after));
        assert_ne!(before.facts.fingerprint, after.facts.fingerprint);
        assert!(folder.path().join("server.key.damaged").exists());
    }
}

//! Who the gateway is to its clients: the site's CA, the server's certificate,
//! and the TLS configuration that small devices can talk to.

mod authority;
mod chain;
mod follow;
mod handshake;
mod leaf;
mod names;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ServerConfig;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use serde::Serialize;
use time::OffsetDateTime;

use crate::clock;
use crate::journal::Event;
use crate::store::publish;
use authority::Authority;
use chain::Facts;
use handshake::{Configs, Current, provider};

pub use follow::follow;
pub use handshake::{RecordSize, SMALL_RECORD};
pub use names::{COMMON_NAME, check as check_names, wanted as wanted_names};

const SERVER_FILE: &str = "server.pem";
const SERVER_KEY_FILE: &str = "server.key";
/// A chain from a CA of one's own, for the server's key.
const INSTALLED_FILE: &str = "installed.pem";

/// What the configuration says about TLS.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// A chain of one's own (PEM); with `key`.
    pub cert: Option<PathBuf>,
    /// The key of `cert`.
    pub key: Option<PathBuf>,
    /// A CA to make the server's certificate with; with `ca_key`.
    pub ca_cert: Option<PathBuf>,
    /// The key of `ca_cert`.
    pub ca_key: Option<PathBuf>,
    /// More names and addresses for the certificate.
    pub names: Vec<String>,
    /// Record size per client.
    pub max_record: RecordSize,
}

/// What can be wrong with certificates and keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the certificate chain in {place} cannot be used: {why}")]
    Chain { place: String, why: String },
    #[error("the key in {place} cannot be used: {why}")]
    Key { place: String, why: String },
    #[error("{name:?} cannot be a name in the certificate: {why}")]
    Name { name: String, why: &'static str },
    #[error("{0} and {1} go together: set both or none")]
    Half(&'static str, &'static str),
    #[error("the certificate comes from {}, which is set in the configuration: replace that file instead", .0.display())]
    Configured(PathBuf),
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    #[error("cannot set up TLS")]
    Library(#[source] rustls::Error),
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

/// Result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// Where the certificate that is served comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Made here, signed by the site's own CA.
    SiteCa,
    /// Made here, signed by the CA in the configuration.
    ConfiguredCa,
    /// Signed elsewhere and installed.
    Installed,
    /// From the files in the configuration.
    Configured,
}

/// A certificate in words.
#[derive(Clone, Debug, Serialize)]
pub struct Certificate {
    pub subject: String,
    pub issuer: String,
    pub names: Vec<String>,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint_sha256: String,
}

/// What is served, for `tls show` and the status.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    pub source: Source,
    pub server: Certificate,
    /// The CA devices have to trust; absent if a foreign chain is served.
    pub ca: Option<Certificate>,
    /// Bytes the server sends first in a TLS 1.2 handshake.
    pub flight_bytes: usize,
    /// Whether that fits one record of a device with a 4 KiB receive buffer.
    pub fits_4096: bool,
    /// Whether the certificate's dates cover the present moment.
    pub valid_now: bool,
    #[serde(skip)]
    pub not_after: Option<OffsetDateTime>,
}

/// The server's identity; shared by the listeners and by who changes it.
#[derive(Debug)]
pub struct Tls {
    folder: PathBuf,
    current: Arc<Current>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    settings: Settings,
    loaded: Loaded,
    configs: Arc<Configs>,
}

/// A certificate that can be served.
#[derive(Debug)]
struct Loaded {
    source: Source,
    certified: Arc<CertifiedKey>,
    facts: Facts,
    authority: Option<Facts>,
    /// Whether this call made it.
    made: Option<leaf::Reason>,
}

impl Tls {
    /// Loads or makes everything in `folder` (`<data_dir>/tls`), which is made
    /// if absent. Blocks on the disk.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn open(folder: &Path, settings: Settings) -> Result<Self> {
        publish::make_folder(folder, publish::SECRET_FOLDER_MODE)?;
        let loaded = load(folder, &settings, OffsetDateTime::now_utc())?;
        let current = Current::new(Arc::clone(&loaded.certified));
        let configs = Arc::new(Configs::new(&current, settings.max_record)?);
        announce(&loaded, configs.flight());
        Ok(Self {
            folder: folder.to_owned(),
            current,
            state: Mutex::new(State {
                settings,
                loaded,
                configs,
            }),
        })
    }

    /// The configuration for a client, chosen by its hello.
    pub fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        self.lock().configs.choose(hello)
    }

    /// Changes to other settings; on an error all stays as it was. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn reload(&self, settings: Settings) -> Result<()> {
        let mut state = self.lock();
        let loaded = load(&self.folder, &settings, OffsetDateTime::now_utc())?;
        if settings.max_record != state.settings.max_record {
            state.configs = Arc::new(Configs::new(&self.current, settings.max_record)?);
        }
        state.settings = settings;
        self.swap(&mut state, loaded);
        Ok(())
    }

    /// Looks again at files, dates and names, and serves what is right now;
    /// whether the certificate changed. On an error all stays as it was.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn refresh(&self, now: OffsetDateTime) -> Result<bool> {
        let mut state = self.lock();
        let loaded = load(&self.folder, &state.settings, now)?;
        let changed = loaded.facts != state.loaded.facts;
        if changed {
            self.swap(&mut state, loaded);
        }
        Ok(changed)
    }

    /// Whether the names of the moment differ from the certificate's, and the
    /// certificate is one that is made here.
    pub fn names_changed(&self) -> Option<Vec<String>> {
        let state = self.lock();
        if matches!(state.loaded.source, Source::Installed | Source::Configured) {
            return None;
        }
        let wanted = names::wanted(&state.settings.names);
        names::differ(&state.loaded.facts.names, &wanted).then_some(wanted)
    }

    /// Whether the certificate that is served has to be replaced for its dates.
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        let state = self.lock();
        let Some(authority) = &state.loaded.authority else {
            return false;
        };
        leaf::why_anew(
            &state.loaded.facts,
            authority,
            &state.loaded.facts.names,
            now,
        )
        .is_some()
    }

    /// Makes a new certificate now, for the same key. An installed chain is
    /// given up for it. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Configured`] if the files are somebody else's, else what failed.
    pub fn renew(&self) -> Result<Shown> {
        {
            let mut state = self.lock();
            if let Some(path) = &state.settings.cert {
                return Err(Error::Configured(path.clone()));
            }
            for name in [INSTALLED_FILE, SERVER_FILE] {
                remove(&self.folder.join(name))?;
            }
            let loaded = load(&self.folder, &state.settings, OffsetDateTime::now_utc())?;
            self.swap(&mut state, loaded);
        }
        Ok(self.show())
    }

    /// A certificate request (PKCS#10, PEM) for the server's key and names.
    ///
    /// # Errors
    /// [`Error::Configured`] if key and certificate are somebody else's.
    pub fn csr(&self) -> Result<String> {
        let state = self.lock();
        if let Some(path) = &state.settings.cert {
            return Err(Error::Configured(path.clone()));
        }
        leaf::request(
            &server_key(&self.folder)?,
            &names::wanted(&state.settings.names),
        )
    }

    /// Serves `pem` from now on: a chain for the server's key, the server's
    /// certificate first. Answers with what a person should know about it.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Chain`] or [`Error::Key`] if it cannot be used, [`Error::Configured`].
    pub fn install(&self, pem: &[u8]) -> Result<Vec<String>> {
        let warnings = {
            let mut state = self.lock();
            if let Some(path) = &state.settings.cert {
                return Err(Error::Configured(path.clone()));
            }
            let now = OffsetDateTime::now_utc();
            let (facts, _) = installed(&self.folder, pem, "the given chain")?;
            if now >= facts.not_after {
                return Err(Error::Chain {
                    place: String::from("the given chain"),
                    why: format!("it ended on {}", clock::iso8601(facts.not_after)),
                });
            }
            let mut warnings = Vec::new();
            if now < facts.not_before {
                warnings.push(format!(
                    "it is not valid before {}",
                    clock::iso8601(facts.not_before)
                ));
            }
            if !facts.names.iter().any(|name| name == COMMON_NAME) {
                warnings.push(format!(
                    "it does not name {COMMON_NAME}: firmware that expects that name will refuse it"
                ));
            }
            publish::replace(&self.folder, INSTALLED_FILE, pem, publish::SECRET_MODE)?;
            let loaded = load(&self.folder, &state.settings, now)?;
            self.swap(&mut state, loaded);
            warnings
        };
        let shown = self.show();
        let large = (!shown.fits_4096).then(|| {
            format!(
                "the handshake needs {} bytes: devices with a 4 KiB receive buffer cannot take it",
                shown.flight_bytes
            )
        });
        Ok(warnings.into_iter().chain(large).collect())
    }

    /// The CA certificate (PEM) to build into firmware; `None` if the chain in
    /// use comes from a CA that is not known here.
    pub fn ca_pem(&self) -> Option<String> {
        let state = self.lock();
        state.loaded.authority.as_ref()?;
        authority(&self.folder, &state.settings)
            .ok()
            .map(|authority| authority.pem)
    }

    /// What is served.
    pub fn show(&self) -> Shown {
        let state = self.lock();
        let flight_bytes = state.configs.flight().unwrap_or(0);
        let now = OffsetDateTime::now_utc();
        let facts = &state.loaded.facts;
        Shown {
            source: state.loaded.source,
            server: facts.into(),
            ca: state.loaded.authority.as_ref().map(Certificate::from),
            flight_bytes,
            fits_4096: fits_small(flight_bytes),
            valid_now: facts.not_before <= now && now < facts.not_after,
            not_after: Some(facts.not_after),
        }
    }

    fn swap(&self, state: &mut State, loaded: Loaded) {
        self.current.replace(Arc::clone(&loaded.certified));
        announce(&loaded, state.configs.flight());
        state.loaded = loaded;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a flight of this size goes out in one small record (whose size the
/// TLS library counts with its header).
fn fits_small(flight: usize) -> bool {
    (1..=SMALL_RECORD - 5).contains(&flight)
}

/// The certificate to serve by these settings, made if need be.
fn load(folder: &Path, settings: &Settings, now: OffsetDateTime) -> Result<Loaded> {
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
            made: None,
        });
    }
    own(folder, settings, now)
}

/// The certificate that is made here.
fn own(folder: &Path, settings: &Settings, now: OffsetDateTime) -> Result<Loaded> {
    let authority = authority(folder, settings)?;
    let key = server_key(folder)?;
    let wanted = names::wanted(&settings.names);
    let path = folder.join(SERVER_FILE);
    let place = path.display().to_string();
    let certify = |pem: &[u8]| {
        let (facts, ders) = split(chain::parse(pem, &place)?, &place)?;
        let key_pem = key.serialize_pem();
        let certified = chain::certified(ders, key_pem.as_bytes(), &place, SERVER_KEY_FILE)?;
        Ok::<_, Error>((facts, certified))
    };
    // What cannot be read is made anew: it is ours, and the key stays.
    let present = chain::read(&path).and_then(|pem| certify(&pem)).ok();
    let reason = present
        .as_ref()
        .map_or(Some(leaf::Reason::NotValidNow), |(facts, _)| {
            leaf::why_anew(facts, &authority.facts, &wanted, now)
        });
    let (facts, certified) = match (present, reason) {
        (Some(present), None) => present,
        _ => {
            let pem = leaf::make(&authority, &key, &wanted, now)?;
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

/// The server's key, made once.
fn server_key(folder: &Path) -> Result<KeyPair> {
    let path = folder.join(SERVER_KEY_FILE);
    if path.exists() {
        return authority::read_key(&path);
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
fn installed(folder: &Path, pem: &[u8], place: &str) -> Result<(Facts, Arc<CertifiedKey>)> {
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

type Ders = Vec<rustls::pki_types::CertificateDer<'static>>;

/// The first certificate's facts, and all of the chain.
fn split(
    chain: Vec<(rustls::pki_types::CertificateDer<'static>, Facts)>,
    place: &str,
) -> Result<(Facts, Ders)> {
    let facts = chain.first().map(|(_, facts)| facts.clone());
    let ders = chain.into_iter().map(|(der, _)| der).collect();
    facts
        .map(|facts| (facts, ders))
        .ok_or_else(|| Error::Chain {
            place: place.to_owned(),
            why: String::from("it is empty"),
        })
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(crate::store::Error::io("remove", path, source).into())
        }
        _ => Ok(()),
    }
}

/// Says what is served from now on, and what a person should look at.
fn announce(loaded: &Loaded, flight: Option<usize>) {
    let facts = &loaded.facts;
    let until = clock::iso8601(facts.not_after);
    if let Some(reason) = loaded.made {
        Event::CertificateMade.entry().say(format_args!(
            "made a server certificate for {} valid until {until} ({reason})",
            facts.names.join(", ")
        ));
    }
    if let Some(bytes) = flight.filter(|bytes| !fits_small(*bytes)) {
        Event::CertificateTrouble.entry().at(log::Level::Warn).say(format_args!(
            "the TLS handshake needs {bytes} bytes: devices with a 4 KiB receive buffer cannot take it; use a shorter chain or fewer names"
        ));
    }
    let now = OffsetDateTime::now_utc();
    if matches!(loaded.source, Source::Installed | Source::Configured)
        && (now < facts.not_before || now >= facts.not_after)
    {
        Event::CertificateTrouble.entry().say(format_args!(
            "the certificate of {} is valid from {} to {until}, not now: install another one (espgate tls csr, espgate tls install)",
            facts.subject,
            clock::iso8601(facts.not_before)
        ));
    }
}

impl From<&Facts> for Certificate {
    fn from(facts: &Facts) -> Self {
        Self {
            subject: facts.subject.clone(),
            issuer: facts.issuer.clone(),
            names: facts.names.clone(),
            not_before: clock::iso8601(facts.not_before),
            not_after: clock::iso8601(facts.not_after),
            fingerprint_sha256: facts.fingerprint.clone(),
        }
    }
}

//! TLS: the site's CA, the server's certificate, and a configuration that works
//! for small devices.

mod auto_renewal;
mod certificate_files;
mod chain;
mod handshake;
mod library_clock;
mod names;
mod server_certificate;
mod site_ca;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::ClientHello;
use time::OffsetDateTime;

use crate::api::tls::{Certificate, Shown, Source};
use crate::clock;
use crate::journal::Event;
use crate::store::publish;
use certificate_files::{INSTALLED_FILE, Loaded, SERVER_FILE};
use chain::Facts;
use handshake::{Configs, Current};

pub use crate::config::Tls as Settings;
pub use auto_renewal::follow;
pub use handshake::SMALL_RECORD;
pub use names::{COMMON_NAME, check as check_names, wanted as wanted_names};

/// Errors of certificates and keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("certificate chain in {place} rejected: {why}")]
    Chain { place: String, why: String },
    #[error("key in {place} rejected: {why}")]
    Key { place: String, why: String },
    #[error("certificate name {name:?} rejected: {why}")]
    Name { name: String, why: &'static str },
    #[error("{0} and {1} must be set together")]
    Half(&'static str, &'static str),
    #[error("certificate is configured as {}: replace that file instead", .0.display())]
    Configured(PathBuf),
    #[error("cannot create a certificate")]
    Make(#[source] rcgen::Error),
    #[error("cannot set up TLS")]
    Library(#[source] rustls::Error),
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

impl Error {
    /// Whether a setting is to blame, or a file that one names.
    pub fn is_configured(&self) -> bool {
        match self {
            Self::File { .. }
            | Self::Chain { .. }
            | Self::Key { .. }
            | Self::Name { .. }
            | Self::Half(..)
            | Self::Configured(_) => true,
            Self::Make(_) | Self::Library(_) | Self::Store(_) => false,
        }
    }
}

/// Result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// The server's identity; shared by the listeners and by who changes it.
#[derive(Debug)]
pub struct Tls {
    folder: PathBuf,
    current: Arc<Current>,
    /// Never held while waiting for the disk: every handshake needs it.
    served: RwLock<Arc<Served>>,
    /// Held while files are read and written, to serialize changes.
    changing: Mutex<()>,
}

#[derive(Debug)]
struct Served {
    settings: Settings,
    loaded: Loaded,
    configs: Arc<Configs>,
}

impl Tls {
    /// Loads or makes everything in `folder` (`<data_dir>/tls`), which is made
    /// if absent. Blocks on the disk.
    ///
    /// # Errors
    /// The file and its error.
    pub fn open(folder: &Path, settings: Settings) -> Result<Self> {
        publish::make_folder(folder, publish::SECRET_FOLDER_MODE)?;
        let loaded = certificate_files::load(folder, &settings, clock::plausible())?;
        let current = Current::new(Arc::clone(&loaded.certified));
        let configs = Arc::new(Configs::new(&current, settings.max_record_bytes)?);
        announce(&loaded, configs.flight());
        Ok(Self {
            folder: folder.to_owned(),
            current,
            served: RwLock::new(Arc::new(Served {
                settings,
                loaded,
                configs,
            })),
            changing: Mutex::default(),
        })
    }

    /// The configuration for a client, chosen by its hello.
    pub fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        self.served().configs.choose(hello)
    }

    /// Changes to other settings; on an error all stays as it was. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// The file and its error.
    pub fn reload(&self, settings: Settings) -> Result<()> {
        let _changing = self.changing();
        let before = self.served();
        let loaded = certificate_files::load(&self.folder, &settings, clock::plausible())?;
        let configs = if settings.max_record_bytes == before.settings.max_record_bytes {
            Arc::clone(&before.configs)
        } else {
            Arc::new(Configs::new(&self.current, settings.max_record_bytes)?)
        };
        self.serve(Served {
            settings,
            loaded,
            configs,
        });
        Ok(())
    }

    /// Checks files, dates and names again and renews the certificate if necessary;
    /// whether it changed. On an error nothing changes. Blocks on the disk.
    ///
    /// # Errors
    /// The file and its error.
    pub fn refresh(&self, now: OffsetDateTime) -> Result<bool> {
        let _changing = self.changing();
        let served = self.served();
        let loaded = certificate_files::load(&self.folder, &served.settings, now)?;
        let changed = loaded.facts != served.loaded.facts;
        if changed {
            self.serve(served.with(loaded));
        }
        Ok(changed)
    }

    /// Whether the names of the moment differ from the certificate's, and the
    /// certificate is one that is made here.
    pub fn names_changed(&self) -> Option<Vec<String>> {
        let served = self.served();
        if matches!(served.loaded.source, Source::Installed | Source::Configured) {
            return None;
        }
        let wanted = names::wanted(&served.settings.names);
        names::differ(&served.loaded.facts.names, &wanted).then_some(wanted)
    }

    /// Whether the certificate that is served has to be replaced for its dates.
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        let served = self.served();
        let Some(authority) = &served.loaded.authority else {
            return false;
        };
        server_certificate::why_anew(
            &served.loaded.facts,
            authority,
            &served.loaded.facts.names,
            now,
        )
        .is_some()
    }

    /// Makes a new certificate now, for the same key. An installed chain is
    /// given up for it. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Configured`] if the files are set in the configuration, else what failed.
    pub fn renew(&self) -> Result<Shown> {
        {
            let _changing = self.changing();
            let served = self.served();
            if let Some(path) = &served.settings.cert {
                return Err(Error::Configured(path.clone()));
            }
            for name in [INSTALLED_FILE, SERVER_FILE] {
                certificate_files::remove(&self.folder.join(name))?;
            }
            let loaded =
                certificate_files::load(&self.folder, &served.settings, clock::plausible())?;
            self.serve(served.with(loaded));
        }
        Ok(self.show())
    }

    /// A certificate request (PKCS#10, PEM) for the server's key and names.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Configured`] if key and certificate are set in the configuration.
    pub fn csr(&self) -> Result<String> {
        let served = self.served();
        if let Some(path) = &served.settings.cert {
            return Err(Error::Configured(path.clone()));
        }
        server_certificate::request(
            &certificate_files::server_key(&self.folder)?,
            &names::wanted(&served.settings.names),
        )
    }

    /// Installs `pem`: a chain for the server's key, the server's certificate first.
    /// Returns warnings. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Chain`] or [`Error::Key`] if it cannot be used, [`Error::Configured`].
    pub fn install(&self, pem: &[u8]) -> Result<Vec<String>> {
        let warnings = {
            let _changing = self.changing();
            let served = self.served();
            if let Some(path) = &served.settings.cert {
                return Err(Error::Configured(path.clone()));
            }
            let now = clock::plausible();
            let (facts, _) = certificate_files::installed(&self.folder, pem, "the uploaded chain")?;
            if now >= facts.not_after {
                return Err(Error::Chain {
                    place: String::from("the uploaded chain"),
                    why: format!("expired on {}", clock::iso8601(facts.not_after)),
                });
            }
            let mut warnings = Vec::new();
            if now < facts.not_before {
                warnings.push(format!(
                    "not valid before {}",
                    clock::iso8601(facts.not_before)
                ));
            }
            if !facts.names.iter().any(|name| name == COMMON_NAME) {
                warnings.push(format!(
                    "{COMMON_NAME} missing: firmware that checks for that name will refuse the \
                     certificate"
                ));
            }
            publish::replace(&self.folder, INSTALLED_FILE, pem, publish::SECRET_MODE)?;
            let loaded = certificate_files::load(&self.folder, &served.settings, now)?;
            self.serve(served.with(loaded));
            warnings
        };
        let shown = self.show();
        let large = (shown.fits_4096 == Some(false)).then(|| {
            format!(
                "handshake is {} bytes: too large for devices with a 4 KiB receive buffer",
                shown.flight_bytes.unwrap_or(0)
            )
        });
        Ok(warnings.into_iter().chain(large).collect())
    }

    /// The CA certificate (PEM) to build into firmware; `None` if the chain in
    /// use comes from a CA that is not known here.
    pub fn ca_pem(&self) -> Option<String> {
        self.served().loaded.ca_pem.clone()
    }

    /// What is served.
    pub fn show(&self) -> Shown {
        let served = self.served();
        let flight_bytes = served.configs.flight().unwrap_or(0);
        let now = clock::plausible();
        let facts = &served.loaded.facts;
        Shown {
            source: served.loaded.source.into(),
            server: facts.into(),
            ca: served.loaded.authority.as_ref().map(Certificate::from),
            flight_bytes: Some(flight_bytes),
            fits_4096: Some(fits_small(flight_bytes)),
            valid_now: Some(facts.not_before <= now && now < facts.not_after),
        }
    }

    fn serve(&self, served: Served) {
        self.current.replace(Arc::clone(&served.loaded.certified));
        announce(&served.loaded, served.configs.flight());
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }

    fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Served {
    /// The same with another certificate.
    fn with(&self, loaded: Loaded) -> Self {
        Self {
            settings: self.settings.clone(),
            loaded,
            configs: Arc::clone(&self.configs),
        }
    }
}

/// Whether a flight of this size goes out in one small record (whose size the
/// TLS library counts with its header).
fn fits_small(flight: usize) -> bool {
    (1..=SMALL_RECORD - 5).contains(&flight)
}

/// Reports the new certificate and its problems.
fn announce(loaded: &Loaded, flight: Option<usize>) {
    let facts = &loaded.facts;
    let until = clock::iso8601(facts.not_after);
    if let Some(reason) = loaded.made {
        Event::CertificateMade.entry().say(format_args!(
            "created server certificate for {}, valid until {until} ({reason})",
            facts.names.join(", ")
        ));
    }
    if let Some(bytes) = flight.filter(|bytes| !fits_small(*bytes)) {
        Event::CertificateTrouble
            .entry()
            .at(log::Level::Warn)
            .say(format_args!(
                "TLS handshake is {bytes} bytes, too large for devices with a 4 KiB receive \
                 buffer: use a shorter chain or fewer names"
            ));
    }
    let now = clock::plausible();
    if matches!(loaded.source, Source::Installed | Source::Configured)
        && (now < facts.not_before || now >= facts.not_after)
    {
        Event::CertificateTrouble.entry().say(format_args!(
            "certificate from {} expired or not yet valid ({} to {until}): install a new \
             one (espgate tls csr, espgate tls install)",
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

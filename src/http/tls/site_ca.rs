//! The site's CA: created once, with dates that are valid even with a wrong clock.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use super::chain::{self, Facts};
use super::{Error, Result};
use crate::store::publish;

/// The CA's certificate, in the site's `tls` folder.
pub(super) const CA_FILE: &str = "ca.pem";
/// The CA's key.
pub(super) const CA_KEY_FILE: &str = "ca.key";

/// A CA that can sign the server's certificate.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) pem: String,
    pub(super) facts: Facts,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The site's own CA in `folder`; made there if it has none. A key without
    /// certificate (a crash in between) gets a certificate.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Store`] or what is wrong with the files. A
    /// certificate without its key is an error: making another CA would shut
    /// out every device that trusts the first.
    pub(super) fn of_site(folder: &Path) -> Result<Self> {
        let (certificate, key) = (folder.join(CA_FILE), folder.join(CA_KEY_FILE));
        if !certificate.exists() {
            let pair = if key.exists() {
                read_key(&key)?
            } else {
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Make)?;
                publish::replace(
                    folder,
                    CA_KEY_FILE,
                    pair.serialize_pem().as_bytes(),
                    publish::SECRET_MODE,
                )?;
                pair
            };
            let made = self_signed(&pair)?;
            // The certificate is for handing out; the folder keeps it private until then.
            publish::replace(folder, CA_FILE, made.as_bytes(), publish::SECRET_MODE)?;
        }
        Self::read(&certificate, &key)
    }

    /// A CA from files.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Chain`] or [`Error::Key`], naming the file.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self> {
        let place = certificate.display().to_string();
        let pem = chain::read(certificate)?;
        let Some((der, facts)) = chain::parse(&pem, &place)?.into_iter().next() else {
            return Err(Error::Chain {
                place,
                why: String::from("empty file"),
            });
        };
        if !facts.is_ca {
            return Err(Error::Chain {
                place,
                why: String::from("not a CA certificate (basicConstraints CA:TRUE missing)"),
            });
        }
        // Also checks that the two belong together.
        chain::certified(
            vec![der.clone()],
            &chain::read(key)?,
            &place,
            &key.display().to_string(),
        )?;
        let issuer = Issuer::from_ca_cert_der(&der, read_key(key)?).map_err(Error::Make)?;
        Ok(Self {
            pem: String::from_utf8_lossy(&pem).into_owned(),
            facts,
            issuer,
        })
    }
}

/// Reads a key that can sign certificates.
pub(super) fn read_key(path: &Path) -> Result<KeyPair> {
    let text = chain::read(path)?;
    KeyPair::from_pem(&String::from_utf8_lossy(&text)).map_err(|error| Error::Key {
        place: path.display().to_string(),
        why: error.to_string(),
    })
}

fn self_signed(key: &KeyPair) -> Result<String> {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2070, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Two sites' CAs in one trust store must not be taken for each other.
    let id: String = params
        .key_identifier(key)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("espgate site CA {id}"));
    Ok(params.self_signed(key).map_err(Error::Make)?.pem())
}

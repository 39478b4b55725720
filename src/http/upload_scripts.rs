//! Upload scripts for build pipelines: templates with the gateway's address and
//! CA filled in.

/// A script that packs an ESP-IDF build folder and uploads it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Script {
    /// POSIX sh with curl and zip.
    Shell,
    /// Windows PowerShell 5.1 and PowerShell 7.
    PowerShell,
}

/// Why a script cannot be generated: its text could be executed by a shell.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
pub enum Unsafe {
    #[error("not an https:// URL of letters, digits and plain punctuation")]
    Url,
    #[error("not a PEM certificate")]
    Ca,
}

impl Script {
    /// What `Content-Type` the script is served with.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Shell => "text/x-shellscript; charset=utf-8",
            Self::PowerShell => "text/plain; charset=utf-8",
        }
    }

    /// The script for the gateway at `public_url`, such as `https://espgate.internal:8443`.
    ///
    /// `ca_pem` is what its certificate is checked against; without, the system's CAs are.
    /// Both end up between quotes in a program, so what could end the quotes is refused.
    pub fn render(self, public_url: &str, ca_pem: Option<&str>) -> Result<String, Unsafe> {
        let url = public_url.strip_suffix('/').unwrap_or(public_url);
        if !is_plain_url(url) {
            return Err(Unsafe::Url);
        }
        let ca = ca_pem.unwrap_or_default().trim();
        if ca_pem.is_some() && !is_pem(ca) {
            return Err(Unsafe::Ca);
        }
        let template = match self {
            Self::Shell => include_str!("upload.sh"),
            Self::PowerShell => include_str!("upload.ps1"),
        };
        let ca = ca.replace("\r\n", "\n");
        Ok(template.replace("@URL@", url).replace("@CA@", &ca))
    }
}

/// `https://`, a name or address, perhaps a port and a path; nothing that a shell reads.
fn is_plain_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~:/[]".contains(&byte);
    (1..=MAX_URL).contains(&rest.len()) && !rest.starts_with('/') && rest.bytes().all(plain)
}

fn is_pem(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=- \r\n".contains(&byte);
    text.starts_with("-----BEGIN CERTIFICATE-----")
        && text.ends_with("-----END CERTIFICATE-----")
        && text.bytes().all(plain)
        && text.len() <= MAX_PEM
}

const MAX_URL: usize = 300;
const MAX_PEM: usize = 64 << 10;

#[cfg(test)]
#[path = "upload_scripts_tests.rs"]
mod tests;

//! A request and its reply.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::upload::Upload;
use super::{Client, TIMEOUT};
use crate::api::errors::ErrorBody;
use crate::cli::failure::Failure;
use crate::cli::progress::TransferProgress;

/// How long something that moves data or boards may take.
const LONG_TIMEOUT: Duration = Duration::from_secs(900);
/// Largest answer that is held in memory.
const MAX_REPLY: usize = 64 * 1024 * 1024;

/// A request being described.
#[derive(Debug)]
pub(in crate::cli) struct Call<'a> {
    client: &'a Client,
    request: Request<Upload>,
    doing: String,
    advice: String,
    timeout: Duration,
}

/// A whole answer.
#[derive(Debug)]
pub(in crate::cli) struct Reply {
    pub(in crate::cli) status: StatusCode,
    pub(in crate::cli) body: Bytes,
}

impl<'a> Call<'a> {
    pub(super) fn new(client: &'a Client, method: Method, path: String) -> Self {
        let mut request = Request::new(Upload::Bytes(Bytes::new()));
        *request.method_mut() = method;
        // Segments are escaped by `segment`; what is still impossible is caught when sent.
        *request.uri_mut() = path.parse().unwrap_or_default();
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("control"));
        Self {
            client,
            doing: format!("do {path}"),
            request,
            advice: String::new(),
            timeout: TIMEOUT,
        }
    }

    /// What this is for: `cannot <doing>: ...`.
    pub(in crate::cli) fn doing(mut self, doing: impl Into<String>) -> Self {
        self.doing = doing.into();
        self
    }

    /// What to do if something is not there, or in the way.
    pub(in crate::cli) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// Waits long for the answer.
    pub(in crate::cli) fn slow(mut self) -> Self {
        self.timeout = LONG_TIMEOUT;
        self
    }

    pub(in crate::cli) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        let value = HeaderValue::from_static(value);
        self.request.headers_mut().insert(name, value);
        self
    }

    /// Carries JSON.
    pub(in crate::cli) fn json(mut self, value: &impl Serialize) -> Self {
        // None of what is sent can fail to be written into memory.
        let json = serde_json::to_vec(value).unwrap_or_default();
        *self.request.body_mut() = Upload::Bytes(json.into());
        self.header(CONTENT_TYPE, "application/json")
    }

    /// Carries a file, with its progress on a terminal.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(in crate::cli) fn file(self, path: &Path) -> Result<Self, Failure> {
        let file = File::open(path)
            .with_context(|| format!("cannot {}: cannot read {}", self.doing, path.display()))?;
        self.opened_file(file, path)
    }

    /// Carries an open file, which is called `path` on the terminal.
    ///
    /// # Errors
    /// If it is no file.
    pub(in crate::cli) fn opened_file(mut self, file: File, path: &Path) -> Result<Self, Failure> {
        let size = || -> std::io::Result<u64> {
            let data = file.metadata()?;
            match data.is_dir() {
                true => Err(std::io::ErrorKind::IsADirectory.into()),
                false => Ok(data.len()),
            }
        };
        let left = size()
            .with_context(|| format!("cannot {}: cannot read {}", self.doing, path.display()))?;
        let progress = TransferProgress::new(format!("uploading {}", path.display()), Some(left));
        *self.request.body_mut() = Upload::File {
            file,
            left,
            progress,
        };
        Ok(self.header(CONTENT_TYPE, "application/octet-stream"))
    }

    /// Sends, and gives whatever is answered.
    ///
    /// # Errors
    /// If there is no answer.
    pub(in crate::cli) fn ask(self) -> Result<Reply, Failure> {
        let client = self.client;
        client.block_on(self.whole())
    }

    /// Sends, and gives the answer of a request that was done.
    ///
    /// # Errors
    /// What the daemon says against it.
    pub(in crate::cli) fn send(self) -> Result<Reply, Failure> {
        let client = self.client;
        client.block_on(self.done())
    }

    /// [`Self::send`] for who awaits something else too.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(in crate::cli) async fn done(self) -> Result<Reply, Failure> {
        let (doing, advice) = (self.doing.clone(), self.advice.clone());
        let answer = self.whole().await?;
        match answer.status.is_success() {
            true => Ok(answer),
            false => Err(refusal(&doing, &advice, &answer)),
        }
    }

    async fn whole(self) -> Result<Reply, Failure> {
        let cannot = format!("cannot {}", self.doing);
        let collect = async {
            let response = self.response().await?;
            let status = response.status();
            let mut body = response.into_body();
            let mut bytes = BytesMut::new();
            while let Some(data) = next(&mut body).await? {
                if bytes.len() + data.len() > MAX_REPLY {
                    return Err(anyhow!("the daemon's answer is larger than 64 MiB"));
                }
                bytes.extend_from_slice(&data);
            }
            Ok(Reply {
                status,
                body: bytes.freeze(),
            })
        };
        Ok(collect.await.with_context(|| cannot)?)
    }

    /// Sends, and writes the answer into `out` as it comes. Returns its size.
    ///
    /// # Errors
    /// What the daemon says against it, or what writing says.
    pub(in crate::cli) fn stream(
        self,
        out: &mut impl Write,
        progress: Option<&str>,
    ) -> Result<u64, Failure> {
        let doing = self.doing.clone();
        let client = self.client;
        client.runtime.block_on(async {
            let cannot = || format!("cannot {doing}");
            let mut body = self.opened().await?;
            let size = http_body::Body::size_hint(&body).exact();
            let mut progress = progress.map(|what| TransferProgress::new(what, size));
            let mut written = 0;
            // Without a timeout: what is followed may be silent for days.
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.with_context(cannot)?.into_data() else {
                    continue;
                };
                out.write_all(&data)?;
                out.flush()?;
                written += data.len() as u64;
                if let Some(progress) = &mut progress {
                    progress.advance(data.len() as u64);
                }
            }
            Ok(written)
        })
    }

    /// Sends, and gives the body of a request that was done, to be read as it comes.
    ///
    /// # Errors
    /// What the daemon says against it.
    pub(in crate::cli) async fn opened(self) -> Result<Incoming, Failure> {
        let (doing, advice) = (self.doing.clone(), self.advice.clone());
        let cannot = || format!("cannot {doing}");
        let response = self.response().await.with_context(cannot)?;
        let status = response.status();
        let body = response.into_body();
        if status.is_success() {
            return Ok(body);
        }
        let body = body.collect().await.with_context(cannot)?.to_bytes();
        Err(refusal(&doing, &advice, &Reply { status, body }))
    }

    async fn response(self) -> anyhow::Result<Response<Incoming>> {
        let slow = || anyhow!("no answer from the daemon in time; see `journalctl -u espgate`");
        let answered = async {
            let mut sender = self.client.open().await?;
            Ok::<_, anyhow::Error>(sender.send_request(self.request).await?)
        };
        tokio::time::timeout(self.timeout, answered)
            .await
            .map_err(|_| slow())?
    }
}

async fn next(body: &mut Incoming) -> anyhow::Result<Option<Bytes>> {
    let frame = tokio::time::timeout(TIMEOUT, body.frame())
        .await
        .context("the daemon stopped sending its answer")?;
    match frame {
        None => Ok(None),
        Some(frame) => Ok(Some(frame?.into_data().unwrap_or_default())),
    }
}

/// What the daemon says against a request, and what to do.
pub(in crate::cli) fn refusal(doing: &str, advice: &str, answer: &Reply) -> Failure {
    let said: ErrorBody = serde_json::from_slice(&answer.body).unwrap_or_default();
    let why = match said.error.as_str() {
        "" => format!("the daemon answered {}", answer.status),
        why => why.to_owned(),
    };
    let advice = match (answer.status, said.correlation_id) {
        (StatusCode::FORBIDDEN, _) => String::from("use sudo"),
        (status, Some(id)) if status.is_server_error() => {
            format!("see `journalctl -u espgate CORRELATION_ID={id}`")
        }
        // What is wrong with a request, its refusal says itself.
        (StatusCode::BAD_REQUEST, _) => said
            .details
            .and_then(|details| details.advice)
            .unwrap_or_default(),
        _ => advice.to_owned(),
    };
    match advice.as_str() {
        "" => Failure::of(format_args!("cannot {doing}: {why}")),
        advice => Failure::of(format_args!("cannot {doing}: {why}; {advice}")),
    }
}

impl Reply {
    /// What the answer says.
    ///
    /// # Errors
    /// If it is something else.
    pub(in crate::cli) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        Ok(serde_json::from_slice(&self.body).context("cannot parse the daemon's answer")?)
    }

    /// The answer as text.
    pub(in crate::cli) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A text as a part of a path or query.
pub(in crate::cli) fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'.'
            | b'_'
            | b'~'
            | b'-'
            | b'+'
            | b':'
            | b'@' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_typed_stays_one_segment() {
        for (text, safe) in [
            ("1.0+dirty~0123abcd", "1.0+dirty~0123abcd"),
            ("/dev/ttyUSB0", "%2Fdev%2FttyUSB0"),
            ("a?b#c d%", "a%3Fb%23c%20d%25"),
            ("ü", "%C3%BC"),
        ] {
            assert_eq!(segment(text), safe);
        }
    }
}

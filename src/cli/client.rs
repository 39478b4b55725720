//! HTTP requests to the daemon over its control socket, one connection each.

mod call;
mod upload;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

pub(super) use call::{Call, Reply, refusal, segment};
use upload::Upload;

use super::args::Global;
use super::failure::Failure;
use super::paths;

/// How long connecting and an ordinary answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The daemon at the other end of a control socket.
#[derive(Debug)]
pub(super) struct Client {
    runtime: Runtime,
    socket: PathBuf,
}

impl Client {
    /// Finds the control socket of a daemon that runs.
    ///
    /// # Errors
    /// [`Failure::Unreachable`], saying where it was looked for.
    pub(super) fn connect(global: &Global) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let candidates = paths::sockets(global);
        for socket in &candidates {
            let opened = runtime.block_on(async {
                tokio::time::timeout(TIMEOUT, UnixStream::connect(socket)).await
            });
            match opened {
                Ok(Ok(_)) => {
                    let socket = socket.clone();
                    return Ok(Self { runtime, socket });
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(denied(socket));
                }
                _ => {}
            }
        }
        let tried: Vec<String> = candidates
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        Err(Failure::Unreachable(format!(
            "daemon not reachable on {}; start it with `systemctl start espgate` or \
             `espgate serve`, or give its socket with --socket",
            tried.join(" or ")
        )))
    }

    /// Runs something that awaits answers.
    pub(super) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    /// A request to be described and sent.
    pub(super) fn call(&self, method: http::Method, path: impl Into<String>) -> Call<'_> {
        Call::new(self, method, path.into())
    }

    /// `GET`
    pub(super) fn get(&self, path: impl Into<String>) -> Call<'_> {
        self.call(http::Method::GET, path)
    }

    /// `PUT`
    pub(super) fn put(&self, path: impl Into<String>) -> Call<'_> {
        self.call(http::Method::PUT, path)
    }

    /// `POST`
    pub(super) fn post(&self, path: impl Into<String>) -> Call<'_> {
        self.call(http::Method::POST, path)
    }

    /// `DELETE`
    pub(super) fn delete(&self, path: impl Into<String>) -> Call<'_> {
        self.call(http::Method::DELETE, path)
    }

    async fn open(&self) -> anyhow::Result<SendRequest<Upload>> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn denied(socket: &Path) -> Failure {
    Failure::Unreachable(format!(
        "permission denied: cannot open the control socket {}; use sudo, or add your user to the \
         group of the socket",
        socket.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_open_the_socket_is_told_how_to() {
        // Not among the screens: root may open everything.
        let Failure::Unreachable(message) = denied(Path::new("/run/espgate/control.sock")) else {
            panic!("exit status 3");
        };
        insta::assert_snapshot!(message, @"permission denied: cannot open the control socket /run/espgate/control.sock; use sudo, or add your user to the group of the socket");
    }
}

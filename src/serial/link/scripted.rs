//! A [`Link`] for unit tests that logs the calls and their times.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::{Link, LinkError, ModemLines};

/// One call on a [`ScriptedLink`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum LinkCall {
    SetLines { dtr: bool, rts: bool },
    Baud(u32),
    Write(Vec<u8>),
    Discard,
}

/// The calls so far, each with the time since the link was made; stays readable
/// after the link is dropped.
pub(crate) type CallLog = Arc<Mutex<Vec<(Duration, LinkCall)>>>;

/// A port without a board: reads give the scripted pieces, one per call, then
/// wait for ever (or report [`LinkError::Gone`]).
#[derive(Debug)]
pub(crate) struct ScriptedLink {
    begun: Instant,
    calls: CallLog,
    pieces: VecDeque<Vec<u8>>,
    gone_at_the_end: bool,
    gone: bool,
    lacks_lines: bool,
    after_reopening: Option<VecDeque<Vec<u8>>>,
}

impl ScriptedLink {
    /// A port on which `pieces` arrive.
    pub(crate) fn new<P: Into<Vec<u8>>>(pieces: impl IntoIterator<Item = P>) -> Self {
        Self {
            begun: Instant::now(),
            calls: CallLog::default(),
            pieces: pieces.into_iter().map(Into::into).collect(),
            gone_at_the_end: false,
            gone: false,
            lacks_lines: false,
            after_reopening: None,
        }
    }

    /// A silent port.
    pub(crate) fn silent() -> Self {
        Self::new::<Vec<u8>>([])
    }

    /// The same port without modem lines.
    pub(crate) fn without_lines(mut self) -> Self {
        self.lacks_lines = true;
        self
    }

    /// The same port, unplugged after the last piece.
    pub(crate) fn then_gone(mut self) -> Self {
        self.gone_at_the_end = true;
        self
    }

    /// The same port, which comes back with `pieces` when it is waited for.
    pub(crate) fn then_back<P: Into<Vec<u8>>>(
        mut self,
        pieces: impl IntoIterator<Item = P>,
    ) -> Self {
        self.after_reopening = Some(pieces.into_iter().map(Into::into).collect());
        self
    }

    /// The log of calls.
    pub(crate) fn calls(&self) -> CallLog {
        Arc::clone(&self.calls)
    }

    fn log(&self, call: LinkCall) -> Result<(), LinkError> {
        if self.gone {
            return Err(LinkError::Gone);
        }
        let mut calls = self.calls.lock().unwrap();
        calls.push((self.begun.elapsed(), call));
        Ok(())
    }
}

impl Link for ScriptedLink {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LinkError> {
        match self.pieces.pop_front() {
            Some(mut piece) => {
                let count = piece.len().min(buffer.len());
                let rest = piece.split_off(count);
                buffer[..count].copy_from_slice(&piece);
                if !rest.is_empty() {
                    self.pieces.push_front(rest);
                }
                Ok(count)
            }
            None if self.gone_at_the_end => {
                self.gone = true;
                Err(LinkError::Gone)
            }
            None => std::future::pending().await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.log(LinkCall::Write(bytes.to_vec()))
    }

    fn set_lines(&mut self, ModemLines { dtr, rts }: ModemLines) -> Result<bool, LinkError> {
        self.log(LinkCall::SetLines { dtr, rts })?;
        Ok(!self.lacks_lines)
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), LinkError> {
        self.log(LinkCall::Baud(baud))
    }

    fn discard(&mut self) -> Result<(), LinkError> {
        self.log(LinkCall::Discard)
    }

    async fn reopen(&mut self) -> Result<(), LinkError> {
        self.pieces = self.after_reopening.take().ok_or(LinkError::Gone)?;
        (self.gone, self.gone_at_the_end) = (false, false);
        Ok(())
    }
}

//! A [`Link`] for unit tests that writes down what is done to it and when.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::{Lines, Link, LinkError};

/// One thing done to a [`ScriptedLink`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Deed {
    Lines { dtr: bool, rts: bool },
    Baud(u32),
    Write(Vec<u8>),
    Discard,
}

/// What was done so far, each with the time since the link was made; stays
/// readable after the link is gone.
pub(crate) type Record = Arc<Mutex<Vec<(Duration, Deed)>>>;

/// A port without a board: reads give the scripted pieces, one per call, then
/// wait for ever (or report [`LinkError::Gone`]).
#[derive(Debug)]
pub(crate) struct ScriptedLink {
    begun: Instant,
    record: Record,
    pieces: VecDeque<Vec<u8>>,
    gone_at_the_end: bool,
    gone: bool,
    after_reopening: Option<VecDeque<Vec<u8>>>,
}

impl ScriptedLink {
    /// A port on which `pieces` arrive.
    pub(crate) fn new<P: Into<Vec<u8>>>(pieces: impl IntoIterator<Item = P>) -> Self {
        Self {
            begun: Instant::now(),
            record: Record::default(),
            pieces: pieces.into_iter().map(Into::into).collect(),
            gone_at_the_end: false,
            gone: false,
            after_reopening: None,
        }
    }

    /// A silent port.
    pub(crate) fn silent() -> Self {
        Self::new::<Vec<u8>>([])
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

    /// What is done to the link, as it happens.
    pub(crate) fn record(&self) -> Record {
        Arc::clone(&self.record)
    }

    fn note(&self, deed: Deed) -> Result<(), LinkError> {
        if self.gone {
            return Err(LinkError::Gone);
        }
        let mut record = self.record.lock().unwrap();
        record.push((self.begun.elapsed(), deed));
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
        self.note(Deed::Write(bytes.to_vec()))
    }

    fn set_lines(&mut self, Lines { dtr, rts }: Lines) -> Result<bool, LinkError> {
        self.note(Deed::Lines { dtr, rts })?;
        Ok(true)
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), LinkError> {
        self.note(Deed::Baud(baud))
    }

    fn discard(&mut self) -> Result<(), LinkError> {
        self.note(Deed::Discard)
    }

    async fn reopen(&mut self) -> Result<(), LinkError> {
        self.pieces = self.after_reopening.take().ok_or(LinkError::Gone)?;
        (self.gone, self.gone_at_the_end) = (false, false);
        Ok(())
    }
}

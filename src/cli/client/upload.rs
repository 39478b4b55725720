//! Request bodies: empty, JSON, or a file with its progress.

use std::fs::File;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::cli::progress::TransferProgress;

/// Read from a file at once.
const BLOCK: usize = 64 * 1024;

/// A request's body.
#[derive(Debug)]
pub(in crate::cli) enum Upload {
    Bytes(Bytes),
    File {
        file: File,
        left: u64,
        progress: TransferProgress,
    },
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let block = match &mut *self {
            Self::Bytes(bytes) => std::mem::take(bytes),
            Self::File { left: 0, .. } => return Poll::Ready(None),
            Self::File {
                file,
                left,
                progress,
            } => {
                let mut block = vec![0; BLOCK.min(usize::try_from(*left).unwrap_or(BLOCK))];
                if let Err(error) = file.read_exact(&mut block) {
                    return Poll::Ready(Some(Err(error)));
                }
                *left -= block.len() as u64;
                progress.advance(block.len() as u64);
                Bytes::from(block)
            }
        };
        Poll::Ready((!block.is_empty()).then(|| Ok(Frame::data(block))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::File { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { left, .. } => *left,
        })
    }
}

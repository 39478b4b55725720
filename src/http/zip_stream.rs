//! Streams a ZIP archive while creating it, without a file on disk.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use tokio::sync::mpsc;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::clock::Moment;
use crate::journal::{Event, chain};

/// Handed on at once.
const BLOCK: usize = 64 * 1024;
/// Blocks that wait for a client that reads slowly.
const WAITING: usize = 4;
/// From here on an entry needs the format's 64-bit fields.
const LARGE: u64 = 1 << 31;
/// Mode of entries that are no file here.
const MODE: u32 = 0o640;

/// A ZIP being written to a client.
pub struct Archive(ZipWriter<StreamWriter<BufWriter<Pipe>>>);

/// A file that could not be read, or not to its end; its entry is incomplete then.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", .path.display())]
pub struct Unreadable {
    path: PathBuf,
    source: io::Error,
}

impl Unreadable {
    /// The error of reading `path`, with its name.
    pub fn of(path: &Path, source: io::Error) -> io::Error {
        let path = path.to_owned();
        io::Error::new(source.kind(), Self { path, source })
    }

    /// Whether it is this that went wrong, and not the way to the client.
    pub fn is(error: &io::Error) -> bool {
        let inner = error.get_ref();
        inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }
}

/// The writing end of an answer's body.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    /// Whether nothing more is sent: a ZIP that is dropped writes its end.
    is_cut: Arc<AtomicBool>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_cut.load(Ordering::Relaxed) {
            return Ok(bytes.len());
        }
        self.sender
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Answers with the ZIP that `fill` writes, off the async threads. If `fill`
/// fails or panics, the connection is aborted and the ZIP has no end, so that it is
/// not taken for complete.
pub fn answer(
    name: &str,
    fill: impl FnOnce(&mut Archive) -> io::Result<()> + Send + 'static,
) -> Response {
    answer_then(name, fill, |()| {})
}

/// [`answer`]; `then` is called with what `fill` gave once all of it is sent.
pub fn answer_then<T>(
    name: &str,
    fill: impl FnOnce(&mut Archive) -> io::Result<T> + Send + 'static,
    then: impl FnOnce(T) + Send + 'static,
) -> Response {
    let (sender, receiver) = mpsc::channel(WAITING);
    let failed = sender.clone();
    let is_cut = Arc::new(AtomicBool::new(false));
    tokio::task::spawn_blocking(move || {
        let pipe = Pipe {
            sender,
            is_cut: Arc::clone(&is_cut),
        };
        let writer = BufWriter::with_capacity(BLOCK, pipe);
        let mut archive = Archive(ZipWriter::new_stream(writer));
        let filled = catch_unwind(AssertUnwindSafe(|| fill(&mut archive)))
            .unwrap_or_else(|_| Err(io::Error::other("panic while writing")))
            .inspect_err(|_| is_cut.store(true, Ordering::Relaxed));
        let outcome = filled.and_then(|told| {
            archive.0.finish()?.into_inner().flush()?;
            Ok(told)
        });
        match outcome {
            Ok(told) => then(told),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => {
                Event::RequestFailed
                    .entry()
                    .say(format_args!("archive incomplete: {}", chain(&error)));
                // A client that disconnected does not see it.
                let _ = failed.blocking_send(Err(error));
            }
        }
    });
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        Some((receiver.recv().await?, receiver))
    });
    let headers = [
        (CONTENT_TYPE, String::from("application/zip")),
        (CONTENT_DISPOSITION, format!("attachment; filename={name}")),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

impl Archive {
    /// Adds an entry.
    ///
    /// # Errors
    /// When the client left.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        self.0.start_file(name, options(name, length, MODE))?;
        self.0.write_all(bytes)
    }

    /// Adds a file; `false` if it is not there (any more).
    ///
    /// # Errors
    /// [`Unreadable`], or when the client left.
    pub fn add_file(&mut self, name: &str, path: &Path) -> io::Result<bool> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Unreadable::of(path, error)),
        };
        let about = file.metadata();
        let about = about.map_err(|error| Unreadable::of(path, error))?;
        let mode = about.permissions().mode() & 0o777;
        self.0.start_file(name, options(name, about.len(), mode))?;
        let mut block = vec![0; BLOCK];
        loop {
            match file.read(&mut block) {
                Ok(0) => return Ok(true),
                Ok(count) => self.0.write_all(block.get(..count).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Unreadable::of(path, error)),
            }
        }
    }

    /// Copies the entries of another ZIP that `name_of` has a name for.
    ///
    /// # Errors
    /// When the ZIP cannot be read, or the client left.
    pub fn copy_from(
        &mut self,
        file: File,
        name_of: impl Fn(&str) -> Option<String>,
    ) -> io::Result<()> {
        let mut source = ZipArchive::new(file)?;
        for index in 0..source.len() {
            let mut entry = source.by_index(index)?;
            let Some(name) = name_of(&entry.name()?) else {
                continue;
            };
            let options = options(&name, entry.size(), MODE);
            self.0.start_file(name.as_str(), options)?;
            io::copy(&mut entry, &mut self.0)?;
        }
        Ok(())
    }
}

fn options(name: &str, length: u64, mode: u32) -> SimpleFileOptions {
    // Bundles are packed already.
    let method = match name.ends_with(".zip") {
        true => CompressionMethod::Stored,
        false => CompressionMethod::Deflated,
    };
    SimpleFileOptions::default()
        .compression_method(method)
        .large_file(length >= LARGE)
        .last_modified_time(now().unwrap_or_default())
        .unix_permissions(mode)
}

/// UTC; the format has no time zones. `None` outside of its years.
fn now() -> Option<zip::DateTime> {
    let now = Moment::now().wall;
    let (hour, minute, second) = now.to_hms();
    let (month, day) = (u8::from(now.month()), now.day());
    let year = u16::try_from(now.year()).ok()?;
    zip::DateTime::from_date_and_time(year, month, day, hour, minute, second).ok()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_added_comes_out_of_the_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        let big: Vec<u8> = (0..1_000_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        File::create(&path).unwrap().write_all(&big).unwrap();
        let response = answer("x.zip", move |archive| {
            archive.add("a.txt", b"hello")?;
            assert!(archive.add_file("big.zip", &path)?);
            assert!(!archive.add_file("gone", &path.with_extension("gone"))?);
            Ok(())
        });
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let mut zip = ZipArchive::new(io::Cursor::new(bytes)).unwrap();
        assert_eq!(zip.len(), 2);
        let mut found = Vec::new();
        io::copy(&mut zip.by_name("big.zip").unwrap(), &mut found).unwrap();
        assert!(found == big);
        let entry = zip.by_name("a.txt").unwrap();
        assert_eq!(entry.size(), 5);
        assert!(entry.last_modified().unwrap().year() > 2024);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_cannot_be_read_is_told_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        File::create(&file).unwrap();
        let response = answer("x.zip", move |archive| {
            // Not to be opened, not even by root; and not to be read.
            for path in [file.join("below"), PathBuf::from("/proc/self/mem")] {
                let error = archive.add_file("x", &path).unwrap_err();
                assert!(Unreadable::is(&error), "{error}");
                let shown = path.display().to_string();
                assert!(chain(&error).contains(&format!("cannot read {shown}: ")));
            }
            assert!(!Unreadable::is(&io::Error::other("else")));
            Ok(())
        });
        response.into_body().collect().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broken_off_archive_is_an_error_not_a_short_one() {
        let failing: fn(&mut Archive) -> io::Result<()> = |archive| {
            archive.add("a", b"1")?;
            Err(io::Error::other("the disk"))
        };
        let panicking: fn(&mut Archive) -> io::Result<()> = |archive| {
            archive.add("a", b"1")?;
            panic!("a fault in the program");
        };
        for fill in [failing, panicking] {
            let mut body = answer("x.zip", fill).into_body();
            let mut sent = Vec::new();
            let broke = loop {
                match body.frame().await {
                    Some(Ok(frame)) => sent.extend(frame.into_data().unwrap()),
                    Some(Err(_)) => break true,
                    None => break false,
                }
            };
            assert!(broke && ZipArchive::new(io::Cursor::new(sent)).is_err());
        }
    }
}

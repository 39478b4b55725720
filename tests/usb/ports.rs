//! Ports that come, go, and are wanted by others.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use espgate::coredump::Verdict;
use espgate::serial::Error;
use espgate::serial::status::State;
use nix::fcntl::{Flock, FlockArg};

use super::Site;
use super::board::{Board, dump};
use super::dumps::xtensa;

#[tokio::test]
async fn what_was_printed_before_the_plug_was_pulled_is_stored_and_the_next_plug_listened_to() {
    let mut site = Site::listening("").await;
    let spec = xtensa();
    let printed = dump(&spec, 0x0102);
    site.board.print(&printed.as_bytes()[..700]).await;
    site.until(|status| status.bytes == 700).await;
    site.board.unplug();
    site.stored(1).await;
    site.reaches(State::Absent).await;
    assert_eq!(site.dumps()[0].verdict, Verdict::Truncated);
    let first = site.shown().await.status().bytes;
    site.board.plug();
    site.reaches(State::Listening).await;
    site.board.print(printed).await;
    site.stored(2).await;
    assert!(site.shown().await.status().bytes > first);
    assert!(
        site.dumps()
            .iter()
            .any(|dump| dump.verdict == Verdict::Valid)
    );
    site.stop().await;
}

#[tokio::test]
async fn a_port_that_another_program_holds_is_left_to_it_until_it_is_free() {
    let mut site = Site::with("");
    let folder = PathBuf::from(&site.name);
    // held before anybody can look: plugged in under another name
    let mut elsewhere = Board::at(&folder.with_extension("other"));
    let path = elsewhere.plug();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
    std::os::unix::fs::symlink(&path, &folder).unwrap();
    site.reaches(State::Busy).await;
    drop(lock);
    site.reaches(State::Listening).await;
    site.board = elsewhere;
    site.board.print(dump(&xtensa(), 0x0102)).await;
    site.stored(1).await;
    site.stop().await;
}

#[tokio::test]
async fn a_released_port_is_free_for_others_until_it_is_claimed() {
    let site = Site::listening("").await;
    site.ports.release(&site.name, None).await.unwrap();
    site.reaches(State::Released).await;
    let file = File::options()
        .read(true)
        .write(true)
        .open(&site.name)
        .unwrap();
    drop(Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap());
    site.ports.claim(&site.name).await.unwrap();
    site.reaches(State::Listening).await;
    site.stop().await;
}

#[tokio::test]
async fn a_release_ends_by_itself() {
    let site = Site::listening("").await;
    site.ports
        .release(&site.name, Some(Duration::from_secs(1)))
        .await
        .unwrap();
    site.reaches(State::Listening).await;
    site.stop().await;
}

#[tokio::test]
async fn a_lent_port_comes_back_when_its_borrower_is_done_also_after_a_replug() {
    let mut site = Site::listening("").await;
    let lease = site.ports.lend(&site.name).await.unwrap();
    site.reaches(State::Lent).await;
    assert!(matches!(
        site.ports.lend(&site.name).await,
        Err(Error::Lent(_))
    ));
    site.board.unplug();
    site.board.plug();
    let file = File::options()
        .read(true)
        .write(true)
        .open(&site.name)
        .unwrap();
    drop(Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap());
    drop(lease);
    site.reaches(State::Listening).await;
    site.stop().await;
}

#[tokio::test]
async fn an_unknown_port_is_named_as_such() {
    let site = Site::with("");
    let error = site.ports.claim("ttyNOPE").await.unwrap_err();
    assert!(error.to_string().contains("ttyNOPE"), "{error}");
    site.stop().await;
}

use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::tcgetattr;

use super::*;

/// The other side of a pseudo terminal, and the path of ours.
fn pair() -> (PtyMaster, PathBuf) {
    let master = posix_openpt(nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname_r(&master).unwrap().into();
    (master, path)
}

#[tokio::test]
async fn bytes_pass_untranslated_both_ways() {
    let (mut master, path) = pair();
    let mut link = SerialLink::open(&path, 115_200, ModemLines::ON).unwrap();
    let all: Vec<u8> = (0..=255).collect();
    link.write(&all).await.unwrap();
    let mut there = [0; 256];
    master.read_exact(&mut there).unwrap();
    assert_eq!(there.to_vec(), all);
    master.write_all(&all).unwrap();
    let mut back = Vec::new();
    while back.len() < all.len() {
        let mut buffer = [0; 64];
        let count = link.read(&mut buffer).await.unwrap();
        back.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(back, all);
}

#[tokio::test]
async fn a_pseudo_terminal_has_no_modem_lines_and_works() {
    let (_master, path) = pair();
    let mut link = SerialLink::open(&path, 115_200, ModemLines::OFF).unwrap();
    assert!(!link.set_lines(ModemLines::ON).unwrap());
    link.set_baud(921_600).unwrap();
}

#[tokio::test]
async fn a_second_open_is_busy_and_closing_ends_that() {
    let (_master, path) = pair();
    let first = SerialLink::open(&path, 115_200, ModemLines::ON).unwrap();
    let second = SerialLink::open(&path, 115_200, ModemLines::ON);
    assert!(matches!(second, Err(LinkError::Busy)), "{second:?}");
    drop(first);
    SerialLink::open(&path, 115_200, ModemLines::ON).unwrap();
}

#[tokio::test]
async fn a_port_whose_other_side_closed_is_gone() {
    let (master, path) = pair();
    let mut link = SerialLink::open(&path, 115_200, ModemLines::ON).unwrap();
    drop(OwnedFd::from(master));
    let read = link.read(&mut [0; 16]).await;
    assert!(matches!(read, Err(LinkError::Gone)), "{read:?}");
    let write = link.write(b"x").await;
    assert!(matches!(write, Err(LinkError::Gone)), "{write:?}");
    drop(link);
    let reopened = SerialLink::open(&path, 115_200, ModemLines::ON);
    assert!(matches!(reopened, Err(LinkError::Gone)), "{reopened:?}");
}

#[tokio::test]
async fn the_port_is_never_opened_or_set_to_1200_baud() {
    let (_master, path) = pair();
    let open = SerialLink::open(&path, 1200, ModemLines::ON);
    assert!(matches!(open, Err(LinkError::Baud(1200))), "{open:?}");
    let mut link = SerialLink::open(&path, 115_200, ModemLines::ON).unwrap();
    assert!(matches!(link.set_baud(1200), Err(LinkError::Baud(1200))));
}

#[tokio::test]
async fn closing_does_not_hang_up_and_no_byte_is_changed_or_dropped() {
    use nix::sys::termios::{ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg, tcsetattr};
    let (_master, path) = pair();
    // as a port is found on a machine, or left by another program
    let before = File::open(&path).unwrap();
    let mut settings = tcgetattr(&before).unwrap();
    settings.control_flags |= ControlFlags::HUPCL | ControlFlags::CRTSCTS;
    tcsetattr(&before, SetArg::TCSANOW, &settings).unwrap();
    let mut link = SerialLink::open(&path, 115_200, ModemLines::ON).unwrap();
    for _ in 0..2 {
        let settings = tcgetattr(ioctl::descriptor(link.stream().unwrap())).unwrap();
        let flags = settings.control_flags;
        assert!(!flags.contains(ControlFlags::HUPCL), "{flags:?}");
        assert!(flags.contains(ControlFlags::CLOCAL | ControlFlags::CREAD));
        assert_eq!(flags & ControlFlags::CSIZE, ControlFlags::CS8);
        assert!(!flags.intersects(ControlFlags::CRTSCTS | ControlFlags::PARENB));
        assert_eq!(settings.input_flags, InputFlags::empty());
        assert!(!settings.output_flags.contains(OutputFlags::OPOST));
        assert!(
            !settings
                .local_flags
                .intersects(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
        );
        // a change of speed keeps all of that
        link.set_baud(921_600).unwrap();
    }
}

#[tokio::test]
async fn any_speed_can_be_opened_and_set() {
    let (_master, path) = pair();
    let mut link = SerialLink::open(&path, 115_200, ModemLines::ON).unwrap();
    // emulators without TCGETS2 do not tell the speed and have the usual ones only
    let any = link.stream().unwrap().baud_rate().is_ok();
    for (baud, usual) in [(921_600, true), (74_880, false), (1_234_567, false)] {
        let set = link.set_baud(baud);
        let told = link.stream().unwrap().baud_rate();
        drop(link);
        let opened = SerialLink::open(&path, baud, ModemLines::ON);
        if any || usual {
            set.unwrap();
            assert_eq!(told.unwrap_or(baud), baud);
            link = opened.unwrap();
            let told = link.stream().unwrap().baud_rate();
            assert_eq!(told.unwrap_or(baud), baud);
        } else {
            assert!(matches!(set, Err(LinkError::Io { .. })), "{set:?}");
            assert!(matches!(opened, Err(LinkError::Io { .. })), "{opened:?}");
            link = SerialLink::open(&path, 115_200, ModemLines::ON).unwrap();
        }
    }
}

#[tokio::test]
async fn an_attempt_on_a_locked_port_is_busy_and_changes_nothing() {
    let (_master, path) = pair();
    let open = || File::options().read(true).write(true).open(&path).unwrap();
    let flasher = Flock::lock(open(), FlockArg::LockExclusiveNonblock).unwrap();
    let before = tcgetattr(&*flasher).unwrap();
    for exclusive in [false, true] {
        ioctl::tests::set_exclusive(&flasher, exclusive);
        let attempt = SerialLink::open(&path, 115_200, ModemLines::ON);
        assert!(matches!(attempt, Err(LinkError::Busy)), "{attempt:?}");
        assert_eq!(ioctl::tests::is_exclusive(&flasher, exclusive), exclusive);
        assert_eq!(tcgetattr(&*flasher).unwrap(), before);
    }
    ioctl::tests::set_exclusive(&flasher, false);
    drop(flasher);
    SerialLink::open(&path, 115_200, ModemLines::ON).unwrap();
    // and nothing of ours is left
    assert!(!ioctl::tests::is_exclusive(&open(), false));
}

#[tokio::test]
async fn a_terminal_that_was_hung_up_is_gone() {
    let (master, path) = pair();
    let held = File::options().read(true).write(true).open(&path).unwrap();
    let mut link = SerialLink::open(&path, 115_200, ModemLines::ON).unwrap();
    drop(master);
    // its node is gone too, but not what was open
    let path = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    let again = SerialLink::open(&path, 115_200, ModemLines::ON);
    assert!(matches!(again, Err(LinkError::Gone)), "{again:?}");
    let calls = [
        link.set_baud(921_600),
        link.discard(),
        link.set_lines(ModemLines::ON).map(drop),
    ];
    for call in calls {
        assert!(matches!(call, Err(LinkError::Gone)), "{call:?}");
    }
}

#[tokio::test]
async fn what_is_no_terminal_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let open = SerialLink::open(file.path(), 115_200, ModemLines::ON);
    assert!(matches!(open, Err(LinkError::Io { .. })), "{open:?}");
}

#[test]
fn reasons_are_told_apart() {
    let told = |errno: Errno| failed("open", errno.into());
    assert!(matches!(told(Errno::EBUSY), LinkError::Busy));
    for errno in [Errno::EIO, Errno::ENXIO, Errno::ENODEV, Errno::ENOENT] {
        assert!(matches!(told(errno), LinkError::Gone), "{errno}");
    }
    let LinkError::Io { source, .. } = told(Errno::EACCES) else {
        panic!("EACCES");
    };
    assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_comes_back_under_its_name_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("port");
    let (first, path) = pair();
    std::os::unix::fs::symlink(&path, &name).unwrap();
    let mut link = SerialLink::open(&name, 115_200, ModemLines::ON).unwrap();
    drop(first);
    std::fs::remove_file(&name).unwrap();
    let (mut second, path) = pair();
    let (reopened, ()) = tokio::join!(link.reopen(), async {
        sleep(REOPEN_PAUSE * 3).await;
        std::os::unix::fs::symlink(&path, &name).unwrap();
    });
    reopened.unwrap();
    link.write(b"x").await.unwrap();
    let mut there = [0];
    second.read_exact(&mut there).unwrap();
    assert_eq!(there, *b"x");
    std::fs::remove_file(&name).unwrap();
    assert!(matches!(link.reopen().await, Err(LinkError::Gone)));
    assert!(matches!(link.discard(), Err(LinkError::Gone)));
}

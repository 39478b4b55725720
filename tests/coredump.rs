//! Coredumps in every shape in which devices send them, whole and damaged.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "common/dumps.rs"]
mod dumps;

use dumps::{VERSIONS, base64_lines, console, risc_v, xtensa};
use espgate::coredump::{
    Container, Examination, PayloadFormat, RegionKind, Verdict, examine, load, load_all,
    xtensa as windowed,
};
use espgate::device::{Architecture, Chip};
use proptest::prelude::*;

fn assert_verdict(bytes: &[u8], expected: Verdict, what: &str) -> Examination {
    let found = examine(bytes);
    assert_eq!(found.verdict, expected, "{what}: {:?}", found.problems);
    assert_eq!(
        found.problems.is_empty(),
        expected == Verdict::Valid,
        "{what}"
    );
    assert_eq!(found.canonical.is_some(), expected.is_whole(), "{what}");
    found
}

#[test]
fn every_header_version_of_both_architectures_is_valid() {
    for dump in [xtensa(), risc_v()] {
        for (version, _, _, is_elf) in VERSIONS {
            let what = format!("{} {version:#06x}", dump.chip);
            let bytes = dump.image(version, false);
            let found = assert_verdict(&bytes, Verdict::Valid, &what);
            assert_eq!(found.container, Some(Container::Raw), "{what}");
            assert_eq!(found.format == Some(PayloadFormat::Elf), is_elf, "{what}");
            assert_eq!(found.chip, Some(dump.chip), "{what}");
            let [minor, major] = version.to_le_bytes();
            assert_eq!(found.header_version, Some((major, minor)), "{what}");
            assert_eq!(found.task.as_deref(), Some("main"), "{what}");
            let hash = is_elf.then_some(dump.app_elf_sha256);
            assert_eq!(found.app_elf_sha256.as_deref(), hash, "{what}");
            assert!(found.fingerprint.is_some(), "{what}");
            let algorithm = if is_elf { 1 } else { 2 };
            assert_eq!(found.fingerprint_algorithm, Some(algorithm), "{what}");
        }
    }
}

#[test]
fn one_dump_has_one_canonical_payload_however_it_travels() {
    for dump in [xtensa(), risc_v()] {
        for (version, header, checksum, is_elf) in VERSIONS {
            let payload = if is_elf {
                dump.elf()
            } else {
                dump.binary(version != 1)
            };
            let uart = dump.image(version, false);
            let flash = dump.image(version, true);
            let bare = flash[header..flash.len() - checksum].to_vec();
            let mut partition = flash.clone();
            partition.resize(flash.len() + 4096, 0xff);
            let lines = base64_lines(&uart, checksum);
            let mut ways = vec![
                ("uart", uart),
                ("flash", flash),
                ("partition", partition),
                ("lines", lines.clone().into_bytes()),
                ("unix lines", lines.replace('\r', "").into_bytes()),
                ("console", console(&lines).into_bytes()),
                ("without header", bare),
            ];
            // of version 0.3 this uploader loses the end
            if version != 3 {
                ways.push(("uploaded", dump.uploaded_body(version)));
            }
            for (way, bytes) in ways {
                let what = format!("{} {version:#06x} {way}", dump.chip);
                let found = examine(&bytes);
                assert!(found.verdict.is_whole(), "{what}: {:?}", found.problems);
                assert!(found.canonical.as_ref() == Some(&payload), "{what}");
            }
        }
    }
}

#[test]
fn bodies_that_lost_their_beginning_are_repaired() {
    for dump in [xtensa(), risc_v()] {
        for version in [0x0001, 0x0002, 0x0100, 0x0101, 0x0104] {
            let what = format!("{} {version:#06x}", dump.chip);
            let found = assert_verdict(&dump.uploaded_body(version), Verdict::Repaired, &what);
            assert_eq!(found.task.as_deref(), Some("main"), "{what}");
        }
        for version in [0x0102, 0x0103] {
            let found = assert_verdict(&dump.uploaded_body(version), Verdict::Valid, "bare");
            assert_eq!(found.container, Some(Container::BareElf));
            assert_eq!(found.chip, Some(dump.chip));
        }
        let (found, contents) = load(&dump.uploaded_body(3));
        assert_eq!(found.verdict, Verdict::Truncated);
        assert_eq!(
            contents.unwrap().tasks.len(),
            2,
            "the stack's end is missing, the frame is not"
        );
    }
}

#[test]
fn a_cut_body_that_lost_its_beginning_is_truncated() {
    for version in [0x0001, 0x0002, 0x0100, 0x0101, 0x0104] {
        let body = xtensa().uploaded_body(version);
        assert_verdict(
            &body[..body.len() / 2],
            Verdict::Truncated,
            &format!("{version:#06x}"),
        );
    }
}

#[test]
fn all_of_a_dump_is_read() {
    let (_, dump) = load(&xtensa().image(0x0102, true));
    let dump = dump.unwrap();
    assert_eq!(
        (dump.chip, dump.chip_revision),
        (Some(Chip::Esp32), Some(300))
    );
    let exception = dump.exception.as_ref().unwrap();
    assert_eq!((exception.cause, exception.address), (Some(29), Some(4)));
    assert_eq!(dump.extra.unwrap().isr_context, Some(false));
    let kinds: Vec<_> = dump
        .memory
        .regions()
        .iter()
        .map(|region| region.kind)
        .collect();
    use RegionKind::{Data, Stack, Tcb};
    assert_eq!(kinds, [Tcb, Stack, Tcb, Stack, Data]);
    assert_eq!(
        dump.memory.c_string(0x3ffb_0000, 64).unwrap(),
        "data of the app"
    );
    let [main, idle] = &dump.tasks[..] else {
        panic!()
    };
    assert!(main.crashed && !idle.crashed);
    assert_eq!(main.stack, Some((0x3ffb_9000, 0x3ffb_9200)));
    assert_eq!(idle.name_hint.as_deref(), Some("idle"));

    let (_, dump) = load(&risc_v().image(0x0104, false));
    let dump = dump.unwrap();
    assert_eq!(dump.architecture, Architecture::RiscV);
    let exception = dump.exception.as_ref().unwrap();
    assert_eq!((exception.cause, exception.address), (Some(7), Some(0x10)));
    assert_eq!(dump.tasks[0].registers.get("ra"), Some(0x4200_0100));
}

#[test]
fn a_task_that_yielded_keeps_only_what_was_saved() {
    let dump = xtensa();
    for version in [0x0003, 0x0102] {
        let (_, dump) = load(&dump.image(version, true));
        let dump = dump.unwrap();
        let idle = &dump.tasks[1];
        assert!(idle.solicited, "{version:#06x}");
        assert_eq!(idle.registers.pc(), Some(0x400d_5003), "{version:#06x}");
        assert_eq!(
            idle.registers.general(4),
            None,
            "left over from another task"
        );
        let frames = windowed::backtrace(&dump, idle, |_| None);
        let pcs: Vec<_> = frames.iter().map(|frame| frame.pc).collect();
        assert_eq!(pcs, [0x400d_5003, 0x400d_6003], "{version:#06x}");
    }
}

#[test]
fn a_crash_in_an_interrupt_goes_on_in_the_interrupted_task() {
    let mut spec = xtensa();
    let mut broken = spec.tasks[0].clone();
    broken.stack_start = 0x3ffb_c000;
    broken.stack.fill(0);
    broken.set_xtensa_frame(0x400d_7003, 0, 0x3ffb_c0c0);
    spec.interrupted = Some((broken.stack_start, broken.stack));
    let (found, dump) = load(&spec.image(0x0103, true));
    assert_eq!(found.verdict, Verdict::Valid, "{:?}", found.problems);
    let dump = dump.unwrap();
    assert_eq!(dump.extra.unwrap().isr_context, Some(true));
    let kinds: Vec<_> = dump
        .memory
        .regions()
        .iter()
        .map(|region| region.kind)
        .collect();
    assert_eq!(kinds[2], RegionKind::InterruptedStack);
    let frames = windowed::backtrace(&dump, &dump.tasks[0], |_| None);
    let pcs: Vec<_> = frames.iter().map(|frame| frame.pc).collect();
    assert_eq!(pcs, [0x400d_1003, 0x400d_2003, 0x400d_3003, 0x400d_7003]);
}

#[test]
fn dumps_of_all_memory_have_the_same_tasks() {
    for spec in [xtensa(), risc_v()] {
        let (_, apart) = load(&spec.elf());
        let (found, together) = load(&spec.elf_of_all_memory());
        assert_eq!(found.verdict, Verdict::Valid, "{:?}", found.problems);
        let (apart, together) = (apart.unwrap(), together.unwrap());
        assert_eq!(apart.exception, together.exception, "{}", spec.chip);
        for (one, other) in apart.tasks.iter().zip(&together.tasks) {
            assert_eq!(
                one.registers, other.registers,
                "{} {:?}",
                spec.chip, one.name_hint
            );
            assert_eq!(one.name_hint, other.name_hint);
            assert_eq!(one.solicited, other.solicited);
            assert_eq!(other.stack, None, "where it ends is not in the dump");
            if spec.chip == Chip::Esp32 {
                let chain = |dump, task| windowed::backtrace(dump, task, |_| None);
                assert_eq!(chain(&apart, one), chain(&together, other));
            }
        }
    }
}

#[test]
fn what_is_not_supported_is_read_as_far_as_it_is_known() {
    let mut newer = xtensa().image(0x0102, true);
    newer[4] = 7;
    let (found, dump) = load(&newer);
    assert_eq!(
        (found.verdict, found.header_version),
        (Verdict::UnsupportedVersion, Some((1, 7)))
    );
    assert_eq!(dump.unwrap().tasks.len(), 2);
    for version in [0x0003, 0x0102] {
        let mut other = xtensa().image(version, true);
        other[6] = 0xee;
        let (found, dump) = load(&other);
        assert_eq!(found.verdict, Verdict::UnsupportedChip);
        let tasks = dump.unwrap().tasks;
        assert_eq!(tasks[0].registers.pc(), Some(0x400d_1003), "{version:#06x}");
    }
}

#[test]
fn a_stand_in_stack_is_marked_and_not_unwound() {
    let mut spec = xtensa();
    spec.tasks[1].stack_start = 0x2000_0000;
    for version in [0x0003, 0x0102] {
        let (_, dump) = load(&spec.image(version, false));
        let dump = dump.unwrap();
        assert!(dump.tasks[1].fake_stack, "{version:#06x}");
        assert!(windowed::backtrace(&dump, &dump.tasks[1], |_| None).is_empty());
    }
}

#[test]
fn names_are_found_behind_the_state_of_the_fpu_too() {
    for version in [0x0001, 0x0003, 0x0102] {
        let mut image = xtensa().image(version, false);
        let (_, _, checksum, _) = dumps::shape(version);
        image.truncate(image.len() - checksum);
        for name in [b"main\0\0\0\0", b"idle\0\0\0\0"] {
            let at = image.windows(8).position(|window| window == name).unwrap();
            image[at..at + 8].copy_from_slice(&[&[0x10, 0x2f, 0xfb, 0x3f], &name[..4]].concat());
        }
        dumps::seal(&mut image, checksum);
        let (found, dump) = load(&image);
        assert_eq!(found.task.as_deref(), Some("main"), "{version:#06x}");
        assert_eq!(dump.unwrap().tasks[1].name_hint.as_deref(), Some("idle"));
    }
}

#[test]
fn several_panic_texts_are_joined() {
    let mut spec = risc_v();
    spec.reasons = vec!["Task watchdog got triggered.", "abort() was called"];
    let found = examine(&spec.image(0x0102, false));
    let expected = "Task watchdog got triggered.\nabort() was called";
    assert_eq!(found.panic_reason.as_deref(), Some(expected));
}

#[test]
fn a_log_gives_its_last_whole_dump_and_all_of_them_in_order() {
    let whole = |chip| {
        let mut spec = xtensa();
        spec.chip = chip;
        console(&base64_lines(&spec.image(0x0102, false), 4))
    };
    let cut = whole(Chip::Esp32S2);
    let log = [
        &whole(Chip::Esp32),
        &whole(Chip::Esp32S3),
        &cut[..cut.len() / 2],
    ]
    .concat();
    let verdicts: Vec<_> = load_all(log.as_bytes())
        .into_iter()
        .map(|(found, _)| (found.chip, found.verdict))
        .collect();
    let expected = [
        (Some(Chip::Esp32), Verdict::Valid),
        (Some(Chip::Esp32S3), Verdict::Valid),
        (Some(Chip::Esp32S2), Verdict::Truncated),
    ];
    assert_eq!(verdicts, expected);
    let found = assert_verdict(log.as_bytes(), Verdict::Valid, "log");
    assert_eq!(
        (found.chip, found.container),
        (Some(Chip::Esp32S3), Some(Container::Console))
    );
}

#[test]
fn damage_has_the_verdict_that_names_it() {
    let image = xtensa().image(0x0102, false);
    let with = |at: usize, value: &[u8]| {
        let mut bytes = image.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    let executable = {
        let mut elf = xtensa().elf();
        elf[16] = 2;
        elf
    };
    for (what, bytes, expected) in [
        ("nothing", Vec::new(), Verdict::NotACoredump),
        ("erased flash", vec![0xff; 4096], Verdict::NotACoredump),
        ("zeros", vec![0; 4096], Verdict::NotACoredump),
        ("no length", with(0, &[0; 4]), Verdict::NotACoredump),
        (
            "a small length",
            with(0, &[20, 0, 0, 0]),
            Verdict::NotACoredump,
        ),
        (
            "a length too large",
            with(0, &[0, 0, 1, 0]),
            Verdict::Truncated,
        ),
        ("seven bytes", image[..7].to_vec(), Verdict::Truncated),
        ("a header alone", image[..24].to_vec(), Verdict::Truncated),
        (
            "a newer minor",
            with(4, &[5, 1]),
            Verdict::UnsupportedVersion,
        ),
        ("another chip", with(6, &[0xff]), Verdict::UnsupportedChip),
        (
            "a flipped byte",
            with(2000, &[0xaa]),
            Verdict::ChecksumMismatch,
        ),
        ("an executable", executable, Verdict::NotACoredump),
        (
            "half an ELF",
            xtensa().elf()[..900].to_vec(),
            Verdict::Truncated,
        ),
        ("almost a task", almost_a_task(), Verdict::NotACoredump),
        (
            "plain text",
            b"hello, I am a console\n".to_vec(),
            Verdict::NotACoredump,
        ),
        (
            "a panic",
            b"abort() was called at PC 0x1\n".to_vec(),
            Verdict::PanicOnly,
        ),
    ] {
        assert_verdict(&bytes, expected, what);
    }
}

/// A TCB that names itself, with nothing else of a task in front.
fn almost_a_task() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    for at in [4 + 16, 4 + 36] {
        bytes[at..at + 4].copy_from_slice(&0x4040_4040_u32.to_le_bytes());
    }
    bytes
}

#[test]
fn a_checksum_that_fits_does_not_make_up_for_a_payload_that_does_not() {
    let mut image = xtensa().image(0x0102, false);
    image.truncate(image.len() - 4);
    // the last program header but one points past the end
    let at = 24 + 52 + 32 * 5 + 16;
    image[at..at + 4].copy_from_slice(&0x10_0000_u32.to_le_bytes());
    dumps::seal(&mut image, 4);
    assert_verdict(&image, Verdict::Truncated, "segment past the end");
    let mut image = xtensa().image(0x0003, false);
    image.truncate(image.len() - 4);
    image[8] = 9;
    dumps::seal(&mut image, 4);
    assert_verdict(&image, Verdict::Truncated, "more tasks than there are");
}

#[test]
fn no_beginning_of_a_dump_is_taken_for_a_whole_one() {
    for (version, _, checksum, _) in VERSIONS {
        let image = xtensa().image(version, true);
        for length in 0..image.len() {
            let found = examine(&image[..length]);
            assert!(!found.verdict.is_whole(), "{version:#06x} {length}");
        }
        let lines = base64_lines(&image, checksum);
        for length in (0..lines.len() - 8).step_by(7) {
            let found = examine(&lines.as_bytes()[..length]);
            assert!(!found.verdict.is_whole(), "lines {version:#06x} {length}");
        }
    }
    for elf in [xtensa().elf(), risc_v().elf()] {
        for length in 0..elf.len() {
            assert!(!examine(&elf[..length]).verdict.is_whole(), "{length}");
        }
    }
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    for version in [0x0003, 0x0102, 0x0104] {
        let image = risc_v().image(version, false);
        for bit in 0..image.len() * 8 {
            let mut damaged = image.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let verdict = examine(&damaged).verdict;
            assert!(!verdict.is_whole(), "{version:#06x} bit {bit}: {verdict}");
        }
    }
}

#[test]
fn the_same_crash_has_the_same_fingerprint_and_another_has_another() {
    let first = xtensa();
    let mut again = xtensa();
    again.tasks[0].set(0x3ffb_9000 + 17 * 4, &[77]);
    again.segments[0].1 = b"data has changed".to_vec();
    again.reasons = vec!["abort() was called at PC 0x400d0000 on core 1"];
    let mut elsewhere = xtensa();
    elsewhere.tasks[0].set_xtensa_frame(0x400d_1006, 0x800d_2003, 0x3ffb_90c0);
    let print = |spec: &dumps::DumpSpec| examine(&spec.image(0x0102, true)).fingerprint.unwrap();
    assert_eq!(print(&first), print(&again));
    assert_ne!(print(&first), print(&elsewhere));
}

proptest! {
    #[test]
    fn any_bytes_are_examined_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let found = examine(&bytes);
        prop_assert!(found.canonical.is_none_or(|canonical| canonical.len() <= bytes.len() + 12));
    }

    #[test]
    fn damaged_dumps_never_panic_and_never_grow(
        version in prop::sample::select(VERSIONS.map(|shape| shape.0).to_vec()),
        risc in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        resealed in any::<bool>(),
    ) {
        let spec = if risc { risc_v() } else { xtensa() };
        let (_, _, checksum, _) = dumps::shape(version);
        let mut image = spec.image(version, false);
        for (at, value) in changes {
            let at = at.index(image.len());
            image[at] = value;
        }
        if resealed {
            image.truncate(image.len() - checksum);
            dumps::seal(&mut image, checksum);
        }
        let (found, dump) = load(&image);
        prop_assert!(found.problems.len() <= 16);
        if let Some(dump) = dump {
            prop_assert!(dump.tasks.len() <= image.len() / 12);
            for task in &dump.tasks {
                prop_assert!(windowed::backtrace(&dump, task, |_| None).len() <= 100);
            }
        }
    }

    #[test]
    fn any_text_between_markers_is_a_damaged_dump(text in "[A-Za-z0-9+/=\r\n ]{0,300}") {
        let found = examine(console(&text).as_bytes());
        prop_assert!(!found.verdict.is_whole());
        prop_assert!(found.verdict != Verdict::NotACoredump);
    }
}

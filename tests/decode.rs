//! What `espgate decode` promises, on a small application of our own that
//! crashed in a callback from the ROM.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "common/dumps.rs"]
mod dumps;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dumps::DumpSpec;
use espgate::decode::child::{Decoder, Failure, is_elf_not_used};
use espgate::decode::report::{Frame, Match, Report};
use espgate::decode::{AppElf, Options, decode, text};

const APP: &[u8] = include_bytes!("data/app.elf");

fn crashed() -> DumpSpec {
    let digest = AppElf::parse(APP).unwrap().digest().short(9);
    dumps::crash_of_app(digest.leak())
}

fn image() -> Vec<u8> {
    crashed().image(0x0102, true)
}

fn report(options: Options) -> Report {
    decode(&image(), Some(&AppElf::parse(APP).unwrap()), options)
}

/// `function:line` of every frame, with what is special about it.
fn outline(report: &Report) -> Vec<String> {
    let line = |frame: &Frame| {
        let function = frame.function.as_deref().unwrap_or("??");
        let mut text = match frame.line {
            Some(line) => format!("{function}:{line}"),
            None => function.to_owned(),
        };
        for (special, is) in [
            (" inlined", frame.inlined),
            (" rom", frame.rom),
            (" guessed", frame.guessed),
        ] {
            text.push_str(if is { special } else { "" });
        }
        text
    };
    report.tasks[0].backtrace.iter().map(line).collect()
}

fn values(report: &Report, frame: usize) -> Vec<String> {
    let frame = &report.tasks[0].backtrace[frame];
    frame
        .args
        .iter()
        .chain(&frame.locals)
        .map(|variable| {
            let mut text = variable.name.clone();
            for worth in [&variable.value, &variable.text, &variable.symbol] {
                text.push(' ');
                text.push_str(worth.as_deref().unwrap_or("-"));
            }
            text
        })
        .collect()
}

#[test]
fn the_backtrace_goes_through_inlined_functions_and_the_rom() {
    let report = report(Options::default());
    assert_eq!(report.verdict, "valid");
    assert_eq!(report.app.matched, Match::Exact);
    assert_eq!(
        outline(&report),
        [
            "crash:23",
            "check:34 inlined",
            "visit:41",
            "rom_visit rom",
            "app_main:46 guessed",
            "main_task:44 guessed",
            "vPortTaskWrapper:51 guessed",
        ]
    );
    let files = report.tasks[0]
        .backtrace
        .iter()
        .filter_map(|frame| frame.file.as_deref());
    assert!(
        files.clone().all(|file| file.starts_with("/project/main/")),
        "{report:?}"
    );
    assert_eq!(report.tasks[0].backtrace[3].offset, Some(0x1f));
}

#[test]
fn values_are_shown_as_their_types_say() {
    let report = report(Options { secrets: true });
    assert_eq!(
        values(&report, 0),
        [
            "details 0x3c020138 the pump ran dry -",
            "code 120 x -",
            "mode 7 PUMPING -",
            "wet true - -",
            "wifi_password 0x3c020128 correct horse -",
            "ticks 100000 - -",
            "then 0x42000020 - app_main",
            "config 0x3fc91190 - -",
        ]
    );
    // a0 was given away before the call: nobody knows the level any more
    assert_eq!(
        values(&report, 1),
        ["level - - -", "config - - -", "depth -2 - -"]
    );
    assert_eq!(values(&report, 2), ["level - - -", "label - well-3 -"]);
}

#[test]
fn values_with_secret_names_are_masked_in_every_form() {
    let masked = report(Options::default());
    assert_eq!(values(&masked, 0)[4], "wifi_password *** *** -");
    for text in [
        serde_json::to_string(&masked).unwrap(),
        text::render(&masked, false),
    ] {
        assert!(!text.contains("correct horse"), "{text}");
        assert!(text.contains("***"), "{text}");
    }
}

#[test]
fn an_elf_is_used_only_if_the_dump_does_not_contradict() {
    let elf = AppElf::parse(APP).unwrap();
    let mut spec = crashed();
    for (hash, matched) in [("", Match::Unverified), ("123456789", Match::Mismatch)] {
        spec.app_elf_sha256 = hash;
        let report = decode(&spec.image(0x0102, true), Some(&elf), Options::default());
        assert_eq!(report.app.matched, matched);
        let named = report.tasks[0].backtrace[0].function.is_some();
        assert_eq!(named, matched == Match::Unverified, "{hash}");
    }
    let other = dumps::xtensa().image(0x0102, true);
    let report = decode(&other, Some(&elf), Options::default());
    assert_eq!(
        report.app.matched,
        Match::Mismatch,
        "another instruction set"
    );
    assert_eq!(
        decode(&other, None, Options::default()).app.matched,
        Match::None
    );
}

#[test]
fn without_an_elf_the_addresses_are_told() {
    let report = decode(&image(), None, Options::default());
    let pcs: Vec<&str> = report.tasks[0]
        .backtrace
        .iter()
        .map(|f| f.pc.as_str())
        .collect();
    assert_eq!(pcs, ["0x42000060", "0x420000c6"], "pc and ra");
    assert_eq!(report.tasks[0].registers.get("a0"), Some("0x3c020138"));
    assert_eq!(report.panic.cause.as_deref(), Some("LoadAccessFault"));
    let xtensa = decode(
        &dumps::xtensa().image(0x0102, true),
        None,
        Options::default(),
    );
    assert_eq!(
        xtensa.tasks[0].backtrace.len(),
        3,
        "the chain is on the stack"
    );
}

#[test]
fn an_interrupt_s_backtrace_goes_on_in_the_interrupted_task() {
    let mut spec = dumps::xtensa();
    let idle = spec.tasks.pop().unwrap();
    spec.interrupted = Some((idle.stack_start, idle.stack));
    let report = decode(&spec.image(0x0102, true), None, Options::default());
    let frames = report.tasks[0].backtrace.iter();
    let frames: Vec<(&str, bool)> = frames.map(|f| (f.pc.as_str(), f.interrupted)).collect();
    let expected = [
        ("0x400d1003", false),
        ("0x400d2003", false),
        ("0x400d3003", false),
        ("0x400d5003", true),
        ("0x400d6003", true),
    ];
    assert_eq!(frames, expected);
    assert!(text::render(&report, false).contains("-- interrupted here:"));
}

#[test]
fn a_panic_on_the_console_is_symbolized_like_a_dump() {
    let main = &crashed().tasks[0];
    let mut log = String::from(
        "Guru Meditation Error: Core  0 panic'ed (Load access fault). Exception was unhandled.\r\n\r\n\
         Core  0 register dump:\r\n\
         MEPC    : 0x42000060  RA      : 0x420000c6  SP      : 0x3fc91180  GP      : 0x00000000  \r\n\
         A0      : 0x3c020138  A1      : 0x0000007f  A2      : 0x3c020000  A3      : 0x00000001  \r\n\
         MSTATUS : 0x00001881  MTVEC   : 0x40380001  MCAUSE  : 0x00000005  MTVAL   : 0x00000010  \r\n\r\n\
         Stack memory:\r\n",
    );
    for (i, words) in main.stack[40..].chunks(8).enumerate() {
        log += &format!("{:08x}:", 0x3fc9_1180 + 32 * i);
        for word in words {
            log += &format!(" 0x{word:08x}");
        }
        log += "\r\n";
    }
    log += "\r\n\r\nELF file SHA256: ";
    log += crashed().app_elf_sha256;
    log += "\r\n\r\nRebooting...\r\n";
    let report = decode(
        log.as_bytes(),
        Some(&AppElf::parse(APP).unwrap()),
        Options::default(),
    );
    assert_eq!(report.verdict, "panic-only");
    let text = text::render(&report, false);
    assert!(
        !text.contains("TCB") && !text.contains("task 0x0"),
        "{text}"
    );
    assert_eq!(report.app.matched, Match::Exact);
    assert_eq!(outline(&report), outline(&self::report(Options::default())));
    assert_eq!(
        values(&report, 0)[0],
        "details 0x3c020138 the pump ran dry -"
    );
}

#[test]
fn a_damaged_dump_is_decoded_as_far_as_it_is_whole() {
    let elf = AppElf::parse(APP).unwrap();
    let image = image();
    for end in 0..image.len() {
        let report = decode(&image[..end], Some(&elf), Options::default());
        assert_ne!(report.verdict, "valid", "{end} bytes");
    }
    let cut = decode(&image[..image.len() - 40], Some(&elf), Options::default());
    assert_eq!(cut.verdict, "truncated");
    assert!(
        outline(&cut).starts_with(&["crash:23".to_owned()]),
        "{cut:?}"
    );
}

#[test]
fn damaged_elves_never_end_the_decoder() {
    let image = image();
    for at in (0..APP.len()).step_by(7) {
        let mut damaged = APP.to_vec();
        damaged[at] ^= 0xff;
        if let Ok(elf) = AppElf::parse(&damaged) {
            // only an ELF that may be the right one is looked into
            let mut spec = crashed();
            spec.app_elf_sha256 = "";
            decode(&spec.image(0x0102, true), Some(&elf), Options::default());
        }
        if let Ok(elf) = AppElf::parse(&APP[..at]) {
            decode(&image, Some(&elf), Options::default());
        }
    }
}

#[test]
fn the_report_survives_its_way_through_json() {
    let report = report(Options::default());
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    let newer = json.replacen('{', r#"{"added_later": [1],"#, 1);
    assert_eq!(serde_json::from_str::<Report>(&newer).unwrap(), report);
}

#[test]
fn the_text_form_is_what_it_was() {
    let text = text::render(&report(Options::default()), false);
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("Decoder"))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(text, include_str!("data/report.txt"));
    assert!(text.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn the_documented_report_is_a_real_one() {
    let page = include_str!("../docs/report.md");
    let (_, example) = page.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let documented: Report = serde_json::from_str(example).unwrap();
    let mut made = report(Options::default());
    made.decoder.clone_from(&documented.decoder);
    let pretty = serde_json::to_string_pretty(&made).unwrap();
    assert!(documented == made, "the report is now\n{pretty}");
}

/// A folder with the dump and its application.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        files.add("core", &image());
        files.add("app.elf", APP);
        files
    }

    fn add(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::File::create(&path)
            .unwrap()
            .write_all(bytes)
            .unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn espgate(arguments: &[&Path], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_espgate"))
        .arg("decode")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_exit_status_says_whether_the_dump_was_whole() {
    let files = Files::new();
    let damaged = files.add("damaged", &image()[..900]);
    let (core, elf) = (files.path("core"), files.path("app.elf"));
    let option = Path::new("--elf");
    let whole = espgate(&[&core, option, &elf], b"");
    assert_eq!(whole.status.code(), Some(0), "{whole:?}");
    let text = String::from_utf8(whole.stdout).unwrap();
    assert!(text.contains("the pump ran dry"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours into a pipe");
    let cut = espgate(&[&damaged, option, &elf], b"");
    assert_eq!(cut.status.code(), Some(1));
    assert!(String::from_utf8(cut.stdout).unwrap().contains("truncated"));
    assert_eq!(espgate(&[], b"").status.code(), Some(2), "wrong usage");
}

#[test]
fn what_cannot_be_read_is_one_line_on_stderr() {
    let files = Files::new();
    for (arguments, said) in [
        (vec![files.path("none")], "check the path"),
        (
            vec![files.path("core"), "--elf".into(), files.path("core")],
            "build folder",
        ),
    ] {
        let arguments: Vec<&Path> = arguments.iter().map(PathBuf::as_path).collect();
        let output = espgate(&arguments, b"");
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains(said) && stderr.lines().count() == 1,
            "{stderr}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_console_log_gives_a_report_for_each_of_its_dumps() {
    let first = dumps::base64_lines(&image(), 4);
    let log = dumps::console(&first) + &dumps::console(&first);
    let output = espgate(&[Path::new("-"), Path::new("--all")], log.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let reports: Vec<Report> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(reports.len(), 2);
    assert!(reports.iter().all(|report| report.verdict == "valid"));
}

#[test]
fn a_long_log_is_read_as_a_stream() {
    let files = Files::new();
    let panic = "abort() was called at PC 0x42000060 on core 0\r\n\r\nRebooting...\r\n";
    let quiet = "I (4711) pump: level 3, 1200 rpm\r\n".repeat(2000);
    let one = format!(
        "{panic}{quiet}{}{quiet}",
        dumps::console(&dumps::base64_lines(&image(), 4))
    );
    let log = files.add("long.log", one.repeat(20).as_bytes());
    assert!(std::fs::metadata(&log).unwrap().len() > 2 << 20);
    let output = espgate(&[&log, Path::new("--all")], b"");
    let verdicts: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Report>(line).unwrap().verdict)
        .collect();
    assert_eq!(verdicts, ["panic-only", "valid"].repeat(20));
    let output = espgate(&[&log, Path::new("--json")], b"");
    let last: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(last.image.crashes_in_log, Some(40));
    assert_eq!(last.verdict, "valid");
}

#[test]
fn a_dump_of_an_old_release_is_read_with_the_panic_beside_it() {
    let mut spec = dumps::xtensa();
    spec.segments.clear();
    let mut image = spec.image(0x0001, false);
    // over UART there is no checksum, and none is counted
    image.truncate(image.len() - 4);
    let total = u32::try_from(image.len()).unwrap();
    image[..4].copy_from_slice(&total.to_le_bytes());
    let lines = dumps::base64_lines(&image, 0);
    let log = format!(
        "I (30) cpu_start: Project name:     pump\r\nI (31) cpu_start: App version:      2.1\r\n\
         Guru Meditation Error: Core  1 panic'ed (StoreProhibited). Exception was unhandled.\r\n{}",
        dumps::console(lines.trim_end_matches("\r\n"))
    );
    let report = decode(log.as_bytes(), None, Options::default());
    assert_eq!(report.verdict, "valid", "{:?}", report.problems);
    assert_eq!(report.tasks.len(), 2);
    assert!(report.panic.reason.unwrap().contains("StoreProhibited"));
    assert_eq!(report.tasks[0].core, Some(1));
    assert_eq!(report.app.project.as_deref(), Some("pump"));
    // the header before that had no version
    let mut older = image[..4].to_vec();
    older.extend(&image[8..]);
    let total = u32::try_from(older.len()).unwrap();
    older[..4].copy_from_slice(&total.to_le_bytes());
    let report = decode(&older, None, Options::default());
    assert_eq!((report.verdict.as_str(), report.tasks.len()), ("valid", 2));
    assert_eq!(report.image.header_version, None);
}

#[test]
fn a_hash_of_zeros_is_none() {
    let elf = AppElf::parse(APP).unwrap();
    let mut spec = crashed();
    spec.app_elf_sha256 = "000000000";
    let report = decode(&spec.image(0x0102, true), Some(&elf), Options::default());
    assert_eq!(report.app.matched, Match::Unverified);
    assert_eq!(report.app.elf_sha256_prefix, None);
}

#[test]
fn wrapped_dumps_are_unwrapped() {
    use base64::Engine as _;
    let image = image();
    let hex: String = image.iter().map(|byte| format!("{byte:02x} ")).collect();
    let text = base64::engine::general_purpose::STANDARD.encode(&image);
    let json = serde_json::json!({"device": "k1", "dump": text}).to_string();
    let form = format!(
        "--b0undary\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n{text}\r\n--b0undary--\r\n"
    );
    for (name, body) in [("hex", hex), ("json", json), ("multipart", form)] {
        let report = decode(body.as_bytes(), None, Options::default());
        assert_eq!(
            (report.verdict.as_str(), report.image.wrapping),
            ("valid", vec![name.to_owned()])
        );
    }
    let report = decode(
        br#"{"device": "k1", "text": "nothing of the kind in here"}"#,
        None,
        Options::default(),
    );
    assert_eq!(report.problems, ["no coredump found in this json"]);
}

#[test]
fn an_application_is_told_from_a_dump() {
    let report = decode(APP, None, Options::default());
    assert_eq!(report.verdict, "not-a-coredump");
    assert!(
        report.problems[0].contains("--elf"),
        "{:?}",
        report.problems
    );
}

#[test]
fn the_elf_may_be_in_a_firmware_bundle() {
    let files = Files::new();
    let mut bundle = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    bundle.start_file("pump.elf", options).unwrap();
    bundle.write_all(APP).unwrap();
    let bundle = files.add("pump.zip", &bundle.finish().unwrap().into_inner());
    let output = espgate(&[&files.path("core"), Path::new("--elf"), &bundle], b"");
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("app_main")
    );
}

fn decoder(time_limit: Duration) -> Decoder {
    Decoder::new(env!("CARGO_BIN_EXE_espgate").into(), time_limit)
}

#[tokio::test]
async fn the_child_gives_the_same_report_with_the_right_one_of_several_elves() {
    let files = Files::new();
    let mut other = APP.to_vec();
    other.push(0);
    let elves = [files.add("other.elf", &other), files.path("app.elf")];
    let made = decoder(Duration::from_secs(60))
        .decode(&files.path("core"), &elves)
        .await;
    assert_eq!(made.unwrap(), report(Options::default()));
}

#[tokio::test]
async fn a_dump_whose_elf_kills_the_decoder_is_read_without_it() {
    let files = Files::new();
    // dies of any ELF, else does what it should
    let program = files.add(
        "decoder.sh",
        format!(
            "#!/bin/sh\ncase \"$*\" in *--elf*) kill -SEGV $$ ;; esac\nexec {} \"$@\"\n",
            env!("CARGO_BIN_EXE_espgate")
        )
        .as_bytes(),
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&program, mode).unwrap();
    let decoder = Decoder::new(program, Duration::from_secs(60));
    let (core, elves) = (files.path("core"), [files.path("app.elf")]);
    assert!(decoder.decode(&core, &elves).await.is_err());
    let made = decoder.decode_somehow(&core, &elves).await.unwrap();
    assert_eq!(made.app.matched, Match::None);
    assert!(!made.tasks.is_empty());
    let problem = made.problems.last().unwrap();
    assert!(is_elf_not_used(problem), "{problem}");
}

#[tokio::test]
async fn a_child_that_hangs_is_ended() {
    let files = Files::new();
    let pipe = files.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // nobody ever writes into it
    let made = decoder(Duration::from_millis(300)).decode(&pipe, &[]).await;
    assert!(matches!(made, Err(Failure::TooSlow(_))), "{made:?}");
}

#[tokio::test]
async fn an_elf_that_takes_too_much_memory_costs_the_child_only() {
    let files = Files::new();
    let mut spec = crashed();
    spec.app_elf_sha256 = "";
    let core = files.add("core", &spec.image(0x0102, true));
    let elf = files.add("greedy.elf", &greedy_elf());
    let made = decoder(Duration::from_secs(60)).decode(&core, &[elf]).await;
    let Err(Failure::Died { said, .. }) = made else {
        unreachable!("{made:?}")
    };
    assert!(said.contains("memory allocation"), "{said}");
}

/// An ELF whose line table unfolds to a gigabyte.
fn greedy_elf() -> Vec<u8> {
    let abbreviations = [1, 0x11, 0, 0x11, 0x01, 0x12, 0x06, 0x10, 0x17, 0, 0, 0];
    let mut unit = vec![4, 0, 0, 0, 0, 0, 4, 1];
    unit.extend(0x4200_0000_u32.to_le_bytes());
    unit.extend(0x0200_0000_u32.to_le_bytes());
    unit.extend(0_u32.to_le_bytes());
    let mut information = u32::try_from(unit.len()).unwrap().to_le_bytes().to_vec();
    information.extend(unit);
    // version 4, special opcodes that move on by one byte and no line
    let mut prologue = vec![1, 1, 1, 0, 1, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
    prologue.extend([0, b'a', 0, 0, 0, 0, 0]);
    let mut table = vec![4, 0];
    table.extend(u32::try_from(prologue.len()).unwrap().to_le_bytes());
    table.extend(prologue);
    table.extend([0, 5, 2]);
    table.extend(0x4200_0000_u32.to_le_bytes());
    table.resize(table.len() + (24 << 20), 14);
    table.extend([0, 1, 1]);
    let mut lines = u32::try_from(table.len()).unwrap().to_le_bytes().to_vec();
    lines.extend(table);
    elf_of(&[
        (".debug_abbrev", &abbreviations),
        (".debug_info", &information),
        (".debug_line", &lines),
    ])
}

/// A RISC-V application that consists of `sections`.
fn elf_of(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut names = vec![0];
    let mut body = vec![0; 52];
    let mut headers = vec![0; 40];
    let mut header = |name: &str, kind: u32, body: &mut Vec<u8>, data: Option<&[u8]>| {
        let name_at = names.len();
        names.extend(name.bytes().chain([0]));
        let data = data.unwrap_or(&names);
        let fields = [name_at, 0, 0, 0, body.len(), data.len(), 0, 0, 1, 0];
        for (i, field) in fields.into_iter().enumerate() {
            let value = if i == 1 {
                kind
            } else {
                u32::try_from(field).unwrap()
            };
            headers.extend(value.to_le_bytes());
        }
        body.extend(data);
    };
    for (name, data) in sections {
        header(name, 1, &mut body, Some(data));
    }
    header(".shstrtab", 3, &mut body, None);
    let count = u16::try_from(sections.len() + 2).unwrap();
    body[..20].copy_from_slice(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0");
    let at = u32::try_from(body.len()).unwrap();
    body[32..36].copy_from_slice(&at.to_le_bytes());
    body[40..42].copy_from_slice(&52_u16.to_le_bytes());
    body[46..48].copy_from_slice(&40_u16.to_le_bytes());
    body[48..50].copy_from_slice(&count.to_le_bytes());
    body[50..52].copy_from_slice(&(count - 1).to_le_bytes());
    body.extend(headers);
    body
}

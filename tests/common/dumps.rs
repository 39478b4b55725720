//! Builds small coredumps of both architectures in every shape that devices
//! give them, from a description of their tasks.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use espgate::device::{Architecture, Chip};
use espgate::digest::Sha256;

/// Header versions by the low half of their word: bytes of header, bytes of
/// checksum, whether the payload is ELF.
pub const VERSIONS: [(u16, usize, usize, bool); 8] = [
    (0x0001, 16, 4, false),
    (0x0002, 20, 4, false),
    (0x0003, 24, 4, false),
    (0x0100, 20, 4, true),
    (0x0101, 20, 32, true),
    (0x0102, 24, 4, true),
    (0x0103, 24, 32, true),
    (0x0104, 12, 32, true),
];

pub const XTENSA_FRAME: u32 = 0xc0;
pub const RISC_V_FRAME: u32 = 0xa0;
pub const TCB_SIZE: u32 = 340;

/// A task's memory, with its saved frame at the beginning of the stack.
#[derive(Clone)]
pub struct TaskSpec {
    pub tcb: u32,
    pub name: &'static str,
    pub stack_start: u32,
    pub stack: Vec<u32>,
    /// Its note says 0x4-less addresses, as for tasks that yielded.
    pub solicited: bool,
}

/// One dump, not yet in any shape.
#[derive(Clone)]
pub struct DumpSpec {
    pub chip: Chip,
    pub tasks: Vec<TaskSpec>,
    pub segments: Vec<(u32, Vec<u8>)>,
    pub app_elf_sha256: &'static str,
    pub reasons: Vec<&'static str>,
    /// The stack that an interrupt broke into.
    pub interrupted: Option<(u32, Vec<u32>)>,
    /// Lengths of note names as IDF from 5.5 writes them.
    pub exact_names: bool,
    /// Xtensa's EXCCAUSE; RISC-V has it in the saved frame.
    pub exccause: u32,
}

/// An ESP32 that aborted in `main`, three calls deep, with `idle` waiting.
pub fn xtensa() -> DumpSpec {
    let mut main = TaskSpec {
        tcb: 0x3ffb_8000,
        name: "main",
        stack_start: 0x3ffb_9000,
        stack: vec![0; 0x80],
        solicited: false,
    };
    let sp = main.stack_start + XTENSA_FRAME;
    main.set_xtensa_frame(0x400d_1003, 0x800d_2003, sp);
    main.set(sp - 16, &[0x800d_3003, sp + 0x40, 0x22, 0x33]);
    main.set(sp + 0x40 - 16, &[0, sp + 0x80, 0, 0]);
    let mut idle = TaskSpec {
        tcb: 0x3ffb_8200,
        name: "idle",
        stack_start: 0x3ffb_a000,
        stack: vec![0; 0x40],
        solicited: true,
    };
    let idle_sp = idle.stack_start + 0x60;
    idle.set(idle.stack_start, &[0, 0x800d_5003, 0x60f30, 0]);
    idle.set(idle.stack_start + 16, &[0x800d_6003, idle_sp, 2, 3]);
    idle.set(idle_sp - 16, &[0, idle_sp + 0x40, 0, 0]);
    DumpSpec {
        chip: Chip::Esp32,
        tasks: vec![main, idle],
        segments: vec![(0x3ffb_0000, b"data of the app\0".to_vec())],
        app_elf_sha256: "1b43c5e74",
        reasons: vec!["abort() was called at PC 0x400d66b9 on core 0"],
        interrupted: None,
        exact_names: false,
        exccause: 29,
    }
}

/// An ESP32-C3 that faulted in `main`, with `idle` waiting.
pub fn risc_v() -> DumpSpec {
    let task = |tcb, name, stack_start, pc: u32, ra: u32| {
        let mut task = TaskSpec {
            tcb,
            name,
            stack_start,
            stack: vec![0; 0x60],
            solicited: false,
        };
        task.set(stack_start, &[pc, ra, stack_start + RISC_V_FRAME]);
        task.set(stack_start + 32 * 4, &[0x1881, 0x4038_0001, 7, 0x10, 0]);
        task
    };
    DumpSpec {
        chip: Chip::Esp32C3,
        tasks: vec![
            task(0x3fc9_0000, "main", 0x3fc9_1000, 0x4200_0010, 0x4200_0100),
            task(0x3fc9_0200, "idle", 0x3fc9_2000, 0x4200_0020, 0x4200_0200),
        ],
        segments: Vec::new(),
        app_elf_sha256: "7d946a8e8",
        reasons: Vec::new(),
        interrupted: None,
        exact_names: true,
        exccause: 0,
    }
}

impl TaskSpec {
    /// Puts `words` at `address` of the stack.
    pub fn set(&mut self, address: u32, words: &[u32]) {
        let at = usize::try_from((address - self.stack_start) / 4).unwrap();
        self.stack[at..at + words.len()].copy_from_slice(words);
    }

    /// An `XtExcFrame` of a crash.
    pub fn set_xtensa_frame(&mut self, pc: u32, a0: u32, sp: u32) {
        self.set(self.stack_start, &[0xdead_beef, pc, 0x60f30, a0, sp]);
        self.set(self.stack_start + 19 * 4, &[0x1b, 29, 4, 1, 2, 3]);
    }

    fn word(&self, index: usize) -> u32 {
        self.stack[index]
    }

    fn stack_end(&self) -> u32 {
        self.stack_start + u32::try_from(self.stack.len() * 4).unwrap()
    }

    fn tcb_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; TCB_SIZE as usize];
        let fields = [
            (0, self.stack_start),
            (16, self.tcb),
            (36, self.tcb),
            (48, self.stack_start - 0x400),
            (72, self.stack_end()),
        ];
        for (at, value) in fields {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes[52..52 + self.name.len()].copy_from_slice(self.name.as_bytes());
        bytes
    }
}

impl DumpSpec {
    /// The ELF payload, in ESP-IDF's order.
    pub fn elf(&self) -> Vec<u8> {
        let mut loads: Vec<(u32, Vec<u8>)> = Vec::new();
        for (index, task) in self.tasks.iter().enumerate() {
            loads.push((task.tcb, task.tcb_bytes()));
            loads.push((task.stack_start, words(&task.stack)));
            if let (0, Some((start, stack))) = (index, &self.interrupted) {
                loads.push((*start, words(stack)));
            }
        }
        loads.extend(self.segments.iter().cloned());
        let notes: Vec<u8> = self
            .tasks
            .iter()
            .flat_map(|task| self.core_note(task))
            .collect();
        let mut segments = vec![(4, 0, notes)];
        segments.extend(
            loads
                .into_iter()
                .map(|(address, bytes)| (1, address, bytes)),
        );
        segments.push((4, 0, self.closing_notes()));
        elf(self.machine(), &segments)
    }

    /// The ELF payload of a build that dumps all of memory: one segment with
    /// every TCB and stack in it.
    pub fn elf_of_all_memory(&self) -> Vec<u8> {
        let parts: Vec<(u32, Vec<u8>)> = self
            .tasks
            .iter()
            .flat_map(|task| {
                [
                    (task.tcb, task.tcb_bytes()),
                    (task.stack_start, words(&task.stack)),
                ]
            })
            .collect();
        let start = parts.iter().map(|(start, _)| *start).min().unwrap() - 64;
        let mut memory = Vec::new();
        for (address, bytes) in &parts {
            let at = usize::try_from(address - start).unwrap();
            memory.resize(memory.len().max(at + bytes.len()), 0);
            memory[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let notes = self
            .tasks
            .iter()
            .flat_map(|task| self.core_note(task))
            .collect();
        let segments = [
            (4, 0, notes),
            (1, start, memory),
            (4, 0, self.closing_notes()),
        ];
        elf(self.machine(), &segments)
    }

    /// ELF machine number.
    pub fn machine(&self) -> u16 {
        match self.chip.architecture() {
            Architecture::Xtensa => 0x5e,
            Architecture::RiscV => 0xf3,
        }
    }

    fn core_note(&self, task: &TaskSpec) -> Vec<u8> {
        let mut status = vec![0; 72];
        status[24..28].copy_from_slice(&task.tcb.to_le_bytes());
        match self.chip.architecture() {
            Architecture::RiscV => {
                status.extend(words(&task.stack[..32]));
                status.extend([0; 4]);
            }
            Architecture::Xtensa => {
                let mut registers = [0xeeee_eeee_u32; 129];
                registers[0] = task.word(1);
                registers[1] = task.word(2);
                registers[64..80].copy_from_slice(&task.stack[3..19]);
                if task.solicited {
                    registers[0] &= 0x3fff_ffff;
                    registers[64..68].copy_from_slice(&task.stack[4..8]);
                    registers[64] &= 0x3fff_ffff;
                    registers[68..80].fill(0xeeee_eeee);
                }
                status.extend(words(&registers));
            }
        }
        self.note("CORE", 1, &status)
    }

    fn closing_notes(&self) -> Vec<u8> {
        let mut info = (u32::from(self.chip.id()) << 16 | 0x102)
            .to_le_bytes()
            .to_vec();
        info.extend(self.app_elf_sha256.as_bytes());
        info.resize(72, 0);
        let mut extra = vec![self.tasks[0].tcb];
        if self.chip.architecture() == Architecture::Xtensa {
            extra.extend([232, self.exccause, 238, 4, 194, 5, 177, 0x4008_4013]);
            extra.resize(37, 0);
        }
        extra.push(u32::from(self.interrupted.is_some()));
        let mut notes = self.note("ESP_CORE_DUMP_INFO", 8266, &info);
        notes.extend(self.note("ESP_EXTRA_INFO", 677, &words(&extra)));
        for reason in &self.reasons {
            notes.extend(self.note("ESP_PANIC_DETAILS", 679, reason.as_bytes()));
        }
        notes
    }

    fn note(&self, name: &str, kind: u32, description: &[u8]) -> Vec<u8> {
        let exact = name.len() + 1;
        let size = if self.exact_names {
            exact
        } else {
            exact.next_multiple_of(4)
        };
        let mut bytes = words(&[
            u32::try_from(size).unwrap(),
            u32::try_from(description.len()).unwrap(),
            kind,
        ]);
        bytes.extend(name.as_bytes());
        bytes.resize(12 + exact.next_multiple_of(4), 0);
        bytes.extend(description);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// The binary payload; version 0x0001 has no segments.
    pub fn binary(&self, with_segments: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        for task in &self.tasks {
            bytes.extend(words(&[task.tcb, task.stack_start, task.stack_end()]));
            bytes.extend(task.tcb_bytes());
            bytes.extend(words(&task.stack));
        }
        for (start, data) in self.segments.iter().filter(|_| with_segments) {
            bytes.extend(words(&[*start, u32::try_from(data.len()).unwrap()]));
            bytes.extend(data);
        }
        bytes
    }

    /// The whole image as sent over UART (not padded) or as it lies in flash.
    pub fn image(&self, version: u16, flash: bool) -> Vec<u8> {
        let (_, header, checksum, is_elf) = shape(version);
        let mut data = match is_elf {
            true => self.elf(),
            false => self.binary(version != 1),
        };
        if flash {
            data.resize((header + data.len()).next_multiple_of(32) - header, 0);
        }
        let total = u32::try_from(header + data.len() + checksum).unwrap();
        let word = u32::from(self.chip.id()) << 16 | u32::from(version);
        let tasks = u32::try_from(self.tasks.len()).unwrap();
        let segments = u32::try_from(self.segments.len()).unwrap();
        let mut bytes = words(&match (version, is_elf) {
            (1, _) => vec![total, word, tasks, TCB_SIZE],
            (2, _) => vec![total, word, tasks, TCB_SIZE, segments],
            (3, _) => vec![total, word, tasks, TCB_SIZE, segments, REVISION],
            (0x104, _) => vec![total, word, REVISION],
            (0x100 | 0x101, _) => vec![total, word, 0, 0, 0],
            _ => vec![total, word, 0, 0, 0, REVISION],
        });
        bytes.extend(data);
        seal(&mut bytes, checksum);
        bytes
    }

    /// What an uploader sends that takes every header for 24 bytes, and every
    /// checksum for 4 unless the version's low byte is 3.
    pub fn uploaded_body(&self, version: u16) -> Vec<u8> {
        let image = self.image(version, true);
        let behind = if version & 0xff == 3 { 32 } else { 4 };
        image[24..image.len() - behind].to_vec()
    }
}

/// The revision that built images give: v3.0.
pub const REVISION: u32 = 300;

/// Row of [`VERSIONS`].
pub fn shape(version: u16) -> (u16, usize, usize, bool) {
    *VERSIONS.iter().find(|shape| shape.0 == version).unwrap()
}

/// Appends the checksum of `size` bytes.
pub fn seal(bytes: &mut Vec<u8>, size: usize) {
    if size == 4 {
        bytes.extend(crc32fast::hash(bytes).to_le_bytes());
    } else {
        bytes.extend(*Sha256::of(bytes).as_bytes());
    }
}

/// An ELF core of `(type, address, bytes)` segments.
pub fn elf(machine: u16, segments: &[(u32, u32, Vec<u8>)]) -> Vec<u8> {
    let count = u16::try_from(segments.len()).unwrap();
    let mut bytes = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(halves(&[4, machine]));
    bytes.extend(words(&[1, 0, 52, 0, 0]));
    bytes.extend(halves(&[52, 32, count, 40, 0, 0]));
    let mut offset = 52 + 32 * segments.len();
    for (kind, address, data) in segments {
        let size = u32::try_from(data.len()).unwrap();
        let at = u32::try_from(offset).unwrap();
        bytes.extend(words(&[*kind, at, *address, *address, size, size, 6, 0]));
        offset += data.len();
    }
    bytes.extend(segments.iter().flat_map(|(_, _, data)| data.clone()));
    bytes
}

/// The image as ESP-IDF prints it: 48 bytes to a line, checksum on its own.
pub fn base64_lines(image: &[u8], checksum: usize) -> String {
    let (body, end) = image.split_at(image.len() - checksum);
    let lines = body.chunks(48).chain(std::iter::once(end));
    lines.map(|line| STANDARD.encode(line) + "\r\n").collect()
}

/// A console log with `text` between the marker lines.
pub fn console(text: &str) -> String {
    format!(
        "I (30) main: hello\r\n================= CORE DUMP START =================\r\n{text}\
         ================= CORE DUMP END =================\r\nRebooting...\r\n"
    )
}

fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn halves(values: &[u16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A crash of `tests/data/app.elf`: `crash` was called by `visit`, which the ROM called back for `app_main`.
/// The addresses and offsets are from the application's disassembly.
pub fn crash_of_app(app_elf_sha256: &'static str) -> DumpSpec {
    let mut spec = risc_v();
    spec.app_elf_sha256 = app_elf_sha256;
    spec.tasks.truncate(1);
    let main = &mut spec.tasks[0];
    main.stack_start = 0x3fc9_10e0;
    main.stack = vec![0; 0x120 / 4];
    let sp = 0x3fc9_1180;
    // registers: pc after the first statement of crash, ra sp gp tp t0-2 s0-1 a0-7
    main.set(main.stack_start, &[0x4200_0060, 0x4200_00c6, sp]);
    main.set(
        main.stack_start + 40,
        &[
            0x3c02_0138,
            127,
            0x3c02_0000,
            1,
            0x3c02_0128,
            42,
            0x4200_0020,
            sp + 16,
        ],
    );
    main.set(
        main.stack_start + 32 * 4,
        &[0x1881, 0x4038_0001, 5, 0x10, 0],
    );
    main.set(sp + 12, &[0x4200_00c6]);
    // visit: config, label, and a return into the ROM
    main.set(sp + 16, &[42, 0x3c02_0120]);
    main.set(
        sp + 24,
        &[u32::from_le_bytes(*b"well"), u32::from_le_bytes(*b"-3\0\0")],
    );
    main.set(sp + 44, &[0x4004_8020]);
    // the ROM's function keeps the return into app_main in its frame of 32 bytes
    main.set(sp + 76, &[0x4200_0038]);
    main.set(sp + 92, &[0x4200_00da]);
    main.set(sp + 108, &[0x4200_00ec]);
    spec
}

//! The decoded report, in the shape in which it is stored and served.
//!
//! Addresses are lower-case hex texts with `0x`; what is not known is null.
//! Fields may be added, so a reader ignores those that it does not know.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::signature::Signature;

/// Everything that a dump tells, with the application's help or without.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Report {
    pub schema: u32,
    /// Who made the report, with version.
    pub decoder: String,
    pub verdict: String,
    /// What is wrong with the dump or was in the way of decoding it.
    pub problems: Vec<String>,
    pub image: Image,
    pub app: App,
    pub panic: Panic,
    pub fingerprint: Option<String>,
    /// What the crash has in common with others of its kind.
    pub signature: Option<Signature>,
    /// Why there is no signature, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_reason: Option<String>,
    pub crashed_task: Option<TaskName>,
    /// The crashed task first.
    pub tasks: Vec<Task>,
    pub exception_registers: Named,
    pub memory: Vec<Region>,
}

/// What the dump came as.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Image {
    pub container: Option<String>,
    pub format: Option<String>,
    pub header_version: Option<String>,
    pub chip: Option<String>,
    /// Major times 100 plus minor.
    pub chip_revision: Option<u32>,
    /// Bytes as received.
    pub size: u64,
    /// What they were wrapped in, the outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrapping: Vec<String>,
    /// How many crashes the log has that this is the last of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crashes_in_log: Option<u64>,
    pub checksum: Option<Checksum>,
}

/// The image's checksum and whether it fits.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Checksum {
    pub kind: String,
    pub ok: bool,
}

/// Which application the dump is of, and which ELF it was decoded with.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct App {
    /// As far as the dump carries it.
    pub elf_sha256_prefix: Option<String>,
    #[serde(rename = "match")]
    pub matched: Match,
    /// Of the ELF that was offered.
    pub elf_sha256: Option<String>,
    pub project: Option<String>,
    pub version: Option<String>,
    /// What stands before `/components/` in the files of the SDK that the ELF was
    /// built with.
    pub sdk_root: Option<String>,
}

/// How sure it is that the ELF is the one that crashed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", from = "String")]
pub enum Match {
    /// The hash in the dump fits.
    Exact,
    /// The dump carries no hash to compare.
    Unverified,
    /// The dump is of another application; the ELF was not used.
    Mismatch,
    /// There was no ELF.
    #[default]
    None,
}

impl From<String> for Match {
    /// A report of a newer release may have another word; it is a report all
    /// the same.
    fn from(word: String) -> Self {
        match word.as_str() {
            "exact" => Self::Exact,
            "unverified" => Self::Unverified,
            "mismatch" => Self::Mismatch,
            _ => Self::None,
        }
    }
}

/// Why the application ended.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Panic {
    pub reason: Option<String>,
    /// Who told the reason: `dump` or `console`.
    pub reason_source: Option<String>,
    /// The exception's name, such as `StoreProhibited`.
    pub cause: Option<String>,
    /// What that means, in words.
    pub explanation: Option<String>,
    pub cause_number: Option<u32>,
    pub address: Option<String>,
    pub in_isr: Option<bool>,
}

/// A task by name.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct TaskName {
    pub tcb: String,
    pub name: Option<String>,
}

/// One task.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Task {
    pub tcb: String,
    pub name: Option<String>,
    pub crashed: bool,
    pub state: Option<String>,
    pub priority: Option<u32>,
    /// Without what it inherited from a mutex.
    pub base_priority: Option<u32>,
    pub core: Option<u32>,
    pub stack: Stack,
    pub registers: Named,
    pub backtrace: Vec<Frame>,
    /// Why the backtrace is short or missing.
    pub note: Option<String>,
}

/// A task's stack; sizes in bytes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Stack {
    pub start: Option<String>,
    pub end: Option<String>,
    pub used: Option<u32>,
    pub free: Option<u32>,
    pub corrupted: bool,
}

/// One line of a backtrace.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Frame {
    /// The program counter of the first frame, the return address of the others.
    pub pc: String,
    pub function: Option<String>,
    /// Bytes from the function's beginning, where no source line is known.
    pub offset: Option<u32>,
    pub file: Option<String>,
    pub line: Option<u32>,
    /// Expanded in the function of the next frame.
    pub inlined: bool,
    /// In the chip's ROM: the function is the nearest that the application names.
    pub rom: bool,
    /// Found by searching the stack, or above such a frame.
    pub guessed: bool,
    /// Of guessed frames: whether a call stands before the return address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validated: Option<bool>,
    /// Of the task that the crashed interrupt handler broke into.
    pub interrupted: bool,
    pub args: Vec<Variable>,
    pub locals: Vec<Variable>,
}

/// An argument or local variable.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Variable {
    pub name: String,
    /// Null if it is not known at this point of the program.
    pub value: Option<String>,
    /// The text that it points to, or the name of its value.
    pub text: Option<String>,
    /// The function or object that it points to.
    pub symbol: Option<String>,
}

/// A piece of memory in the dump.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Region {
    pub start: String,
    pub size: u32,
    pub kind: String,
}

/// Registers by name, in the order in which debuggers list them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Named(pub Vec<(String, Option<String>)>);

impl Named {
    /// The value called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        value.as_deref()
    }
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Named;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("values by name")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Named, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Named(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// An address as reports spell it.
pub fn hex(address: u32) -> String {
    format!("{address:#x}")
}

/// The version of the report's shape.
pub const SCHEMA: u32 = 1;
/// Name and version of this decoder.
pub const DECODER: &str = concat!("espgate ", env!("CARGO_PKG_VERSION"));

//! Makes what ESP-IDF and a build pipeline make: images, .elf files, bundles, build folders.
//!
//! Everything is small, sound unless asked otherwise, and the same for the same arguments.

#![allow(dead_code, unreachable_pub, reason = "each user takes what it needs")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::io::{Cursor, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// ESP-IDF's firmware chip id of the ESP32-S3.
pub const ESP32_S3: u16 = 9;

/// An application image to be built: `Image { version: "1.2.3", ..Image::default() }.build()`.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    pub version: &'a str,
    pub project: &'a str,
    pub chip_id: u16,
    pub secure_version: u32,
    /// The .elf whose SHA-256 the image carries.
    pub elf: &'a [u8],
    /// Bytes of code behind the description; a multiple of 4.
    pub code: usize,
}

impl Default for Image<'_> {
    fn default() -> Self {
        Self {
            version: "1.2.3",
            project: "lamp",
            chip_id: ESP32_S3,
            secure_version: 0,
            elf: b"",
            code: 1000,
        }
    }
}

impl Image<'_> {
    /// A whole image: header, two segments, checksum, appended SHA-256.
    pub fn build(&self) -> Vec<u8> {
        let mut description = vec![0; 256];
        let mut put = |offset: usize, bytes: &[u8]| {
            description[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &0xABCD_5432_u32.to_le_bytes());
        put(4, &self.secure_version.to_le_bytes());
        put(16, self.version.as_bytes());
        put(48, self.project.as_bytes());
        put(80, b"14:30:00");
        put(96, b"Feb 11 2026");
        put(112, b"v5.5.1");
        put(144, &Sha256::digest(self.elf));
        // code that differs from build to build and does not shrink
        let mut state = u32::from_le_bytes(Sha256::digest(self.elf)[..4].try_into().unwrap()) | 1;
        let code: Vec<u8> = (0..self.code)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state as u8
            })
            .collect();

        let mut image = vec![0xE9, 2, 2, 0x20, 0, 0, 0x37, 0x40, 0xEE, 0, 0, 0];
        image.extend(self.chip_id.to_le_bytes());
        image.resize(23, 0);
        image.push(1);
        let mut checksum = 0xEF;
        for (address, data) in [(0x3C00_0020_u32, &description), (0x4037_4000, &code)] {
            image.extend(address.to_le_bytes());
            image.extend((data.len() as u32).to_le_bytes());
            image.extend(data);
            checksum = data.iter().fold(checksum, |sum, byte| sum ^ byte);
        }
        image.resize(image.len() / 16 * 16 + 15, 0);
        image.push(checksum);
        let digest = Sha256::digest(&image);
        image.extend(digest);
        image
    }
}

/// A 32-bit RISC-V ELF with a `.text` that depends on `seed`.
pub fn elf(seed: u8, debug_info: bool) -> Vec<u8> {
    elf_of_size(seed, debug_info, 64)
}

/// The same, with a `.text` of `text_len` bytes.
pub fn elf_of_size(seed: u8, debug_info: bool, text_len: usize) -> Vec<u8> {
    let names = b"\0.text\0.debug_info\0.shstrtab\0";
    let text = vec![seed; text_len];
    let info = [7; 12];
    let mut sections = vec![[0_u32; 6]];
    let mut body = Vec::new();
    let mut add = |name: u32, kind: u32, data: &[u8]| {
        let offset = 52 + body.len() as u32;
        sections.push([name, kind, 0, 0, offset, data.len() as u32]);
        body.extend_from_slice(data);
    };
    add(1, 1, &text);
    if debug_info {
        add(7, 1, &info);
    }
    add(19, 3, names);
    body.resize(body.len().next_multiple_of(4), 0);

    let mut elf = b"\x7fELF\x01\x01\x01".to_vec();
    elf.resize(16, 0);
    let half = |elf: &mut Vec<u8>, value: u16| elf.extend(value.to_le_bytes());
    half(&mut elf, 2); // executable
    half(&mut elf, 243); // RISC-V
    for word in [1, 0x4200_0000, 0, 52 + body.len() as u32, 0] {
        elf.extend(word.to_le_bytes());
    }
    for value in [52, 32, 0, 40, sections.len() as u16] {
        half(&mut elf, value);
    }
    half(&mut elf, sections.len() as u16 - 1);
    elf.extend(body);
    for section in sections {
        for word in section.into_iter().chain([0, 0, 1, 0]) {
            elf.extend(word.to_le_bytes());
        }
    }
    elf
}

/// The bundle of one build: `Build { version: "1.2.3", ..Build::of("lamp") }.zip()`.
#[derive(Clone, Copy)]
pub struct Build<'a> {
    pub model: &'a str,
    pub version: &'a str,
    /// Builds of the same version with another seed are other builds.
    pub seed: u8,
    pub chip_id: u16,
    pub secure_version: u32,
    pub code: usize,
    pub debug_info: bool,
}

impl<'a> Build<'a> {
    /// Version 1.2.3 of `model`.
    pub fn of(model: &'a str) -> Self {
        Self {
            model,
            version: "1.2.3",
            seed: 1,
            chip_id: ESP32_S3,
            secure_version: 0,
            code: 1000,
            debug_info: true,
        }
    }

    pub fn elf(&self) -> Vec<u8> {
        elf(self.seed, self.debug_info)
    }

    pub fn bin(&self) -> Vec<u8> {
        Image {
            version: self.version,
            project: self.model,
            chip_id: self.chip_id,
            secure_version: self.secure_version,
            elf: &self.elf(),
            code: self.code,
        }
        .build()
    }

    /// The five files, by name.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let Self { model, version, .. } = self;
        let manifest = format!(
            r#"{{"git_commit":"c0ffee","idf_version":"v5.5.1","firmware_version":"{version}"}}"#
        );
        vec![
            (format!("{model}.bin"), self.bin()),
            (format!("{model}.elf"), self.elf()),
            (format!("{model}.map"), b"Archive member\n".repeat(20)),
            ("sdkconfig".to_owned(), SDKCONFIG.as_bytes().to_vec()),
            ("version.json".to_owned(), manifest.into_bytes()),
        ]
    }

    pub fn zip(&self) -> Vec<u8> {
        zip(&self.files())
    }
}

/// Packs files into a ZIP.
pub fn zip<N: AsRef<str>, B: AsRef<[u8]>>(files: &[(N, B)]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let name = name.as_ref();
        if name.ends_with('/') {
            writer.add_directory(name, options).unwrap();
        } else {
            writer.start_file(name, options).unwrap();
            writer.write_all(bytes.as_ref()).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

/// Renames an entry in place; both names have the same length.
pub fn rename_entry(mut zip: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    for place in 0..zip.len() - from.len() {
        if &zip[place..place + from.len()] == from.as_bytes() {
            zip[place..place + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    zip
}

/// What `idf.py build` leaves behind for `project`: its build folder is `folder/build`.
pub fn build_folder(folder: &Path, project: &str, version: &str) {
    let made = Build {
        version,
        ..Build::of(project)
    };
    let build = folder.join("build");
    std::fs::create_dir_all(&build).unwrap();
    let put = |path: &Path, bytes: &[u8]| {
        std::fs::File::create(path)
            .unwrap()
            .write_all(bytes)
            .unwrap();
    };
    put(&build.join(format!("{project}.bin")), &made.bin());
    put(&build.join(format!("{project}.elf")), &made.elf());
    put(&build.join(format!("{project}.map")), b"Archive member\n");
    put(&folder.join("sdkconfig"), SDKCONFIG.as_bytes());
    // as ESP-IDF's project_description.json.in writes it: four spaces, one field per line
    let description = format!(
        r#"{{
    "version":            "1.2",
    "project_name":       "{project}",
    "project_version":    "{version}",
    "project_path":       "{path}",
    "idf_path":           "/opt/esp-idf",
    "build_dir":          "{path}/build",
    "config_file":        "{path}/sdkconfig",
    "app_elf":            "{project}.elf",
    "app_bin":            "{project}.bin",
    "git_revision":       "v5.5.1",
    "target":             "esp32s3",
    "debug_arguments_openocd": "-f board/esp32s3-builtin.cfg"
}}
"#,
        path = folder.display()
    );
    put(
        &build.join("project_description.json"),
        description.as_bytes(),
    );
}

const SDKCONFIG: &str = "CONFIG_IDF_TARGET=\"esp32s3\"\n\
    CONFIG_ESP_COREDUMP_ENABLE_TO_FLASH=y\n\
    CONFIG_ESP_COREDUMP_ENABLE=y\n";

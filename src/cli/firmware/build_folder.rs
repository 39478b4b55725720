//! The build folders of the usual build systems: where the application's .bin
//! and .elf are, and the bundle made of them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::device::Version;
use crate::esp::app_image::AppImage;

/// The files of one build.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Build {
    pub(super) bin: PathBuf,
    pub(super) elf: PathBuf,
    pub(super) map: Option<PathBuf>,
    pub(super) sdkconfig: Option<PathBuf>,
}

/// Finds the build in `folder`: a project's folder, or its build folder.
///
/// # Errors
/// If there is none, or more than one.
pub(super) fn find(folder: &Path) -> anyhow::Result<Build> {
    let kinds = [esp_idf, platformio, arduino, rust];
    for kind in kinds {
        let mut builds = kind(folder)?;
        let Some(build) = builds.pop() else { continue };
        if builds.is_empty() {
            return Ok(build);
        }
        let folders = builds.iter().chain([&build]);
        let folders: Vec<String> = folders
            .map(|build| build.bin.display().to_string())
            .collect();
        return Err(anyhow!(
            "more than one build found: {}; name the folder of one",
            folders.join(", ")
        ));
    }
    Err(anyhow!(
        "no build of ESP-IDF, PlatformIO, ESPHome, Arduino or Rust found in {}",
        folder.display()
    ))
}

/// `build/project_description.json`, which ESP-IDF writes.
fn esp_idf(folder: &Path) -> anyhow::Result<Vec<Build>> {
    for build in [folder.join("build"), folder.to_owned()] {
        let path = build.join("project_description.json");
        let Some(text) = read_if_there(&path)? else {
            continue;
        };
        let cannot = || format!("cannot read {}", path.display());
        let described: Value = serde_json::from_slice(&text).with_context(cannot)?;
        let named = |key: &str| {
            let name = described.get(key).and_then(Value::as_str);
            name.filter(|name| !name.is_empty()).map(PathBuf::from)
        };
        let in_build = |key| {
            let name = named(key).ok_or_else(|| anyhow!("{}: no {key}", path.display()))?;
            existing(build.join(name))
        };
        // PlatformIO has a description too, of an application under another name
        if build.join("firmware.bin").is_file() && in_build("app_bin").is_err() {
            continue;
        }
        let elf = in_build("app_elf")?;
        let beside = build.parent().map(|project| project.join("sdkconfig"));
        return Ok(vec![Build {
            bin: in_build("app_bin")?,
            map: there(elf.with_extension("map")),
            // as described, unless it was built on another machine
            sdkconfig: named("config_file")
                .and_then(there)
                .or(beside.and_then(there)),
            elf,
        }]);
    }
    Ok(Vec::new())
}

/// `.pio/build/<environment>/firmware.bin`; ESPHome has `.pioenvs/<name>`.
fn platformio(folder: &Path) -> anyhow::Result<Vec<Build>> {
    let mut environments = vec![folder.to_owned()];
    for builds in [".pio/build", ".pioenvs", "build"] {
        environments.extend(folders(&folder.join(builds))?);
    }
    let mut builds = Vec::new();
    for environment in environments {
        let Some(bin) = there(environment.join("firmware.bin")) else {
            continue;
        };
        let name = environment.canonicalize().ok();
        let name = name
            .as_deref()
            .and_then(Path::file_name)
            .unwrap_or_default();
        let mut sdkconfig = std::ffi::OsString::from("sdkconfig.");
        sdkconfig.push(name);
        let projects = [
            folder.to_owned(),
            environment.join("../../.."),
            environment.join("../.."),
        ];
        let mut places = projects.iter().map(|project| project.join(&sdkconfig));
        builds.push(Build {
            elf: existing(environment.join("firmware.elf"))?,
            map: there(environment.join("firmware.map")),
            sdkconfig: places.find_map(there),
            bin,
        });
    }
    Ok(builds)
}

/// `<sketch>.ino.bin`, also in `build/<board>` as "Export Compiled Binary" has it.
fn arduino(folder: &Path) -> anyhow::Result<Vec<Build>> {
    let mut places = vec![folder.to_owned()];
    places.extend(folders(&folder.join("build"))?);
    let mut builds = Vec::new();
    for place in places {
        for bin in files(&place)? {
            if !bin.to_string_lossy().ends_with(".ino.bin") {
                continue;
            }
            builds.push(Build {
                elf: existing(bin.with_extension("elf"))?,
                map: there(bin.with_extension("map")),
                sdkconfig: there(place.join("sdkconfig")),
                bin,
            });
        }
    }
    Ok(builds)
}

/// `target/<triple>/release/<name>`, an .elf, and the image that was saved of it as
/// `<name>.bin` beside it or in the project's folder.
fn rust(folder: &Path) -> anyhow::Result<Vec<Build>> {
    let mut places = vec![folder.to_owned()];
    for triple in folders(&folder.join("target"))? {
        places.push(triple.join("release"));
    }
    let (mut builds, mut unsaved) = (Vec::new(), None);
    for place in places {
        for elf in files(&place)? {
            if elf.extension().is_some() || !is_elf(&elf)? {
                continue;
            }
            let beside = elf.with_extension("bin");
            let name = beside.file_name().unwrap_or_default();
            match there(beside.clone()).or_else(|| there(folder.join(name))) {
                Some(bin) => builds.push(Build {
                    bin,
                    elf,
                    ..Build::default()
                }),
                None => unsaved = Some(elf),
            }
        }
    }
    match unsaved {
        Some(elf) if builds.is_empty() => Err(anyhow!(
            "no image of {} found; make one: espflash save-image --chip CHIP {} {}",
            elf.display(),
            elf.display(),
            elf.with_extension("bin").display()
        )),
        _ => Ok(builds),
    }
}

fn is_elf(path: &Path) -> anyhow::Result<bool> {
    let mut magic = Vec::new();
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    file.take(4).read_to_end(&mut magic).with_context(cannot)?;
    Ok(magic == b"\x7fELF")
}

fn there(path: PathBuf) -> Option<PathBuf> {
    path.is_file().then_some(path)
}

fn existing(path: PathBuf) -> anyhow::Result<PathBuf> {
    let missing = || {
        anyhow!(
            "{} not found; a .bin without its .elf is added by its own name",
            path.display()
        )
    };
    there(path.clone()).ok_or_else(missing)
}

fn read_if_there(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn folders(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    Ok(entries(folder)?
        .into_iter()
        .filter(|path| path.is_dir())
        .collect())
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    Ok(entries(folder)?
        .into_iter()
        .filter(|path| path.is_file())
        .collect())
}

/// What is in a folder, sorted; nothing if it is not there.
fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot list {}", folder.display());
    let listed = match fs::read_dir(folder) {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        listed => listed.with_context(cannot)?,
    };
    let mut paths = Vec::new();
    for entry in listed {
        paths.push(entry.with_context(cannot)?.path());
    }
    paths.sort();
    Ok(paths)
}

impl Build {
    /// Writes the bundle for `model`.
    ///
    /// # Errors
    /// If a file cannot be read, or the bundle not written.
    pub(super) fn pack(
        &self,
        model: &str,
        version: Option<&str>,
        to: &mut File,
    ) -> anyhow::Result<()> {
        let mut zip = ZipWriter::new(to);
        let options = SimpleFileOptions::default();
        let mut add = |name: String, path: &Path| -> anyhow::Result<()> {
            let cannot = || format!("cannot read {}", path.display());
            let mut file = File::open(path).with_context(cannot)?;
            zip.start_file(name, options)?;
            io::copy(&mut file, &mut zip).with_context(cannot)?;
            Ok(())
        };
        add(format!("{model}.bin"), &self.bin)?;
        add(format!("{model}.elf"), &self.elf)?;
        if let Some(map) = &self.map {
            add(format!("{model}.map"), map)?;
        }
        if let Some(sdkconfig) = &self.sdkconfig {
            add(String::from("sdkconfig"), sdkconfig)?;
        }
        zip.start_file("version.json", options)?;
        zip.write_all(self.manifest(version)?.to_string().as_bytes())?;
        zip.finish()?;
        Ok(())
    }

    fn manifest(&self, version: Option<&str>) -> anyhow::Result<Value> {
        let mut head = Vec::new();
        let cannot = || format!("cannot read {}", self.bin.display());
        let bin = File::open(&self.bin).with_context(cannot)?;
        bin.take(AppImage::HEAD_LEN as u64)
            .read_to_end(&mut head)
            .with_context(cannot)?;
        let given: Option<Version> = version.and_then(|version| version.parse().ok());
        // what is wrong with the image, the gateway says
        let image = AppImage::parse(&head, given.as_ref()).ok();
        let idf_version = image.as_ref().and_then(|image| image.idf_version.clone());
        let version = image.map(|image| image.version.to_string());
        let manifest = json!({
            "git_commit": "unknown",
            "idf_version": idf_version.unwrap_or_default(),
            "firmware_version": version.unwrap_or_default(),
            "partial": self.map.is_none() || self.sdkconfig.is_none(),
        });
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests;

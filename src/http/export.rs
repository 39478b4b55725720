//! One archive with everything that a developer needs to look at a crash.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;

use super::app::App;
use super::archive::{self, Archive};
use super::coredumps::{Found, with_dump};
use super::error::{Error, Result};
use crate::coredump::{self, PayloadFormat};
use crate::decode::{self, Report};
use crate::device::{Architecture, Chip, ModelCode};
use crate::journal::chain;
use crate::printable::escaped;
use crate::store::coredumps::Sidecar;

/// What goes into the archive, looked up before the answer begins.
struct Contents {
    sidecar: Sidecar,
    dump: Vec<u8>,
    stem: String,
    report: PathBuf,
    log: PathBuf,
    bundle: Option<Bundle>,
}

/// The firmware that crashed, if it is here.
struct Bundle {
    file: File,
    model: ModelCode,
}

/// `GET /api/coredumps/{id}/export`: a ZIP.
///
/// # Errors
/// 404.
pub async fn export(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response> {
    let contents = with_dump(app, id, look_up).await?;
    let name = format!("coredump-{}.zip", contents.sidecar.id);
    Ok(archive::answer(&name, move |archive| {
        fill(archive, contents)
    }))
}

fn look_up(app: &App, found: Found) -> Result<Contents> {
    let (sidecar, dump, report, log) = app.store.coredumps.with(&found.device, |folder| {
        Ok((
            folder.sidecar(&found.stem)?,
            folder.file(&found.stem, "dmp"),
            folder.file(&found.stem, "report.json"),
            folder.file(&found.stem, "log"),
        ))
    })?;
    let dump = match std::fs::read(&dump) {
        Ok(dump) => dump,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NotFound(format!("Coredump {}", sidecar.id)));
        }
        Err(error) => return Err(Error::internal(&error)),
    };
    let bundle = bundle(app, &sidecar).unwrap_or_else(|error| {
        log::warn!(
            "coredump {} is exported without its firmware: {}",
            sidecar.id,
            chain(&error)
        );
        None
    });
    Ok(Contents {
        sidecar,
        dump,
        stem: found.stem,
        report,
        log,
        bundle,
    })
}

/// By the hash in the dump; without one, by model and version.
fn bundle(app: &App, sidecar: &Sidecar) -> crate::store::Result<Option<Bundle>> {
    let firmware = &app.store.firmware;
    let model = || sidecar.model_code.as_deref()?.parse::<ModelCode>().ok();
    let elf = match (&sidecar.app_elf_sha256, model(), &sidecar.firmware_version) {
        (Some(prefix), ..) => firmware.elf(prefix)?,
        (None, Some(model), Some(version)) => firmware.elf_of(&model, version)?,
        _ => None,
    };
    let Some(elf) = elf else {
        return Ok(None);
    };
    let stored = firmware.bundle(&elf.model, &elf.build.name)?;
    Ok(stored.map(|stored| Bundle {
        file: stored.file,
        model: elf.model,
    }))
}

fn fill(archive: &mut Archive, contents: Contents) -> io::Result<()> {
    let Contents {
        sidecar,
        dump,
        stem,
        report,
        log,
        bundle,
    } = contents;
    let app_elf = bundle
        .as_ref()
        .map(|bundle| format!("{}.elf", bundle.model));
    let examination = coredump::examine(&dump);
    let elf = examination
        .canonical
        .filter(|_| examination.format == Some(PayloadFormat::Elf));
    let readme = readme(&sidecar, &stem, elf.is_some(), app_elf.as_deref());
    archive.add("README.txt", readme.as_bytes())?;
    archive.add(&format!("{stem}.dmp"), &dump)?;
    archive.add(&format!("{stem}.json"), &sidecar.to_bytes())?;
    if let Some(elf) = elf {
        archive.add("core.elf", &elf)?;
    }
    if let Ok(bytes) = std::fs::read(report) {
        archive.add("report.json", &bytes)?;
        if let Ok(report) = serde_json::from_slice::<Report>(&bytes) {
            let text = decode::text::render(&report, false);
            archive.add("report.txt", text.as_bytes())?;
        }
    }
    archive.add_file("console.log", &log)?;
    if let Some(bundle) = bundle {
        let model = bundle.model;
        archive.copy_from(bundle.file, |name| {
            let wanted = name == "sdkconfig"
                || name == "version.json"
                || name == format!("{model}.elf")
                || name == format!("{model}.map");
            wanted.then(|| name.to_owned())
        })?;
    }
    Ok(())
}

fn readme(sidecar: &Sidecar, stem: &str, has_core: bool, app_elf: Option<&str>) -> String {
    let chip: Option<Chip> = sidecar.chip.as_deref().and_then(|chip| chip.parse().ok());
    let gdb = match chip {
        Some(chip) if chip.architecture() == Architecture::RiscV => {
            String::from("riscv32-esp-elf-gdb")
        }
        Some(chip) => format!("xtensa-{chip}-elf-gdb"),
        None => String::from("<the chip's gdb>"),
    };
    let shown = |text: &Option<String>| escaped(text.as_deref().unwrap_or("unknown")).into_owned();
    let app = app_elf.unwrap_or("<your application>.elf");
    let mut text = format!(
        "Coredump {} of device {}\n\
         firmware {} of model {}, {}, uploaded {}\n\n",
        sidecar.id,
        sidecar.device_key,
        shown(&sidecar.firmware_version),
        shown(&sidecar.model_code),
        shown(&sidecar.chip),
        sidecar.uploaded_at,
    );
    if app_elf.is_none() {
        text.push_str(
            "The ELF of this firmware is not on the gateway. Take the one that was built\n\
             together with the .bin that crashed; any other gives wrong lines.\n\n",
        );
    }
    match has_core {
        true => text.push_str(&format!(
            "Open it in GDB:\n\n  {gdb} {app} core.elf\n  (gdb) info threads\n  (gdb) bt\n\n\
             or with ESP-IDF's tool:\n\n  \
             esp-coredump info_corefile --core core.elf --core-format elf {app}\n\n"
        )),
        false => text.push_str(&format!(
            "There is no ELF in the dump to open in GDB as it is. With ESP-IDF's tool:\n\n  \
             esp-coredump info_corefile --core {stem}.dmp --core-format raw {app}\n\n"
        )),
    }
    text.push_str(
        "README.txt     this\n\
         *.dmp          the dump as it was received\n\
         *.json         what the gateway knows of it (report.json: what it read in it)\n\
         report.txt     the same to read\n\
         core.elf       the ELF in the dump\n\
         console.log    console lines around the crash, if it came over USB\n\
         *.elf *.map    the firmware's, with its sdkconfig: they may hold secrets\n",
    );
    text
}

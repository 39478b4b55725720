//! Export: a ZIP with everything a developer needs to examine a crash.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;

use super::app_state::AppState;
use super::coredumps::{DumpLocation, with_dump};
use super::error::Error;
use super::zip_stream::{self, Archive};
use crate::coredump::{self, Container, Examination, PayloadFormat, Verdict};
use crate::decode::{self, Report};
use crate::device::{Architecture, Chip, ModelCode};
use crate::journal::chain;
use crate::printable::escaped;
use crate::store::coredumps::Sidecar;

/// The contents of the archive, collected before the response begins.
struct Contents {
    sidecar: Sidecar,
    dump: Vec<u8>,
    stem: String,
    report: PathBuf,
    log: PathBuf,
    bundle: Option<Bundle>,
}

/// The firmware that crashed, if it is stored.
struct Bundle {
    file: File,
    model: ModelCode,
}

/// `GET /api/coredumps/{id}/export`: a ZIP.
///
/// # Errors
/// 404.
pub async fn export(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let contents = with_dump(app, id, look_up).await?;
    let name = format!("coredump-{}.zip", contents.sidecar.id);
    Ok(zip_stream::answer(&name, move |archive| {
        fill(archive, contents)
    }))
}

fn look_up(app: &AppState, found: DumpLocation) -> Result<Contents, Error> {
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
            "export of coredump {} lacks its firmware: {}",
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
fn bundle(app: &AppState, sidecar: &Sidecar) -> crate::store::Result<Option<Bundle>> {
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
    let stored = firmware.bundle(&elf.model, elf.build.id())?;
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
    let readme = readme(&sidecar, &stem, &examination, app_elf.as_deref());
    // Everything in one folder, so that unpacking does not clutter the current one.
    let top = format!("coredump-{}", sidecar.id);
    let below = |name: &str| format!("{top}/{name}");
    archive.add(&below("README.txt"), readme.as_bytes())?;
    archive.add(&below(&format!("{stem}.dmp")), &dump)?;
    archive.add(&below(&format!("{stem}.json")), &sidecar.to_bytes())?;
    if let Some(elf) = core(&examination) {
        archive.add(&below("core.elf"), elf)?;
    }
    if let Ok(bytes) = std::fs::read(report) {
        archive.add(&below("report.json"), &bytes)?;
        if let Ok(report) = serde_json::from_slice::<Report>(&bytes) {
            let text = decode::text::render(&report, false);
            archive.add(&below("report.txt"), text.as_bytes())?;
        }
    }
    archive.add_file(&below("console.log"), &log)?;
    if let Some(bundle) = bundle {
        let model = bundle.model;
        archive.copy_from(bundle.file, |name| {
            let wanted = name == "sdkconfig"
                || name == "version.json"
                || name == format!("{model}.elf")
                || name == format!("{model}.map");
            wanted.then(|| below(name))
        })?;
    }
    Ok(())
}

/// The ELF in a dump, if it is whole.
fn core(examination: &Examination) -> Option<&[u8]> {
    let is_elf = examination.format == Some(PayloadFormat::Elf);
    examination.canonical.as_deref().filter(|_| is_elf)
}

fn readme(
    sidecar: &Sidecar,
    stem: &str,
    examination: &Examination,
    app_elf: Option<&str>,
) -> String {
    // The dump's own data takes precedence over the sender's.
    let sent = || sidecar.chip.as_deref().and_then(|chip| chip.parse().ok());
    let chip: Option<Chip> = examination.chip.or_else(sent);
    let gdb = match chip {
        Some(chip) if chip.architecture() == Architecture::RiscV => {
            String::from("riscv32-esp-elf-gdb")
        }
        Some(chip) => format!("xtensa-{chip}-elf-gdb"),
        None => String::from("<the chip's gdb>"),
    };
    let chip = chip.map_or_else(
        || escaped(sidecar.chip.as_deref().unwrap_or("unknown chip")).into_owned(),
        |chip| chip.to_string(),
    );
    let shown = |text: &Option<String>| escaped(text.as_deref().unwrap_or("unknown")).into_owned();
    let app = app_elf.unwrap_or("<your application>.elf");
    let mut text = format!(
        "Coredump {} of device {}\n\
         firmware {} of model {}, {}, uploaded {}\n\n",
        sidecar.id,
        sidecar.device_key,
        shown(&sidecar.firmware_version),
        shown(&sidecar.model_code),
        chip,
        sidecar.uploaded_at,
    );
    let open = how_to_open(examination, stem, &gdb, app);
    if app_elf.is_none() && open.is_ok() {
        text.push_str(
            "The ELF of this firmware is not on the gateway. Use the ELF of the same build as\n\
             the .bin that crashed; any other one shows wrong lines.\n\n",
        );
    }
    text.push_str(&open.unwrap_or_else(String::from));
    text.push_str(
        "README.txt     this file\n\
         *.dmp          the dump as received\n\
         *.json         metadata of the dump; report.json is the decoded report\n\
         report.txt     the decoded report as text\n\
         core.elf       the ELF from the dump\n\
         console.log    console lines before and after the crash (USB only)\n\
         *.elf *.map    the firmware's files, with its sdkconfig; may contain secrets\n",
    );
    text
}

/// The commands that open a dump; an error says why there are none.
fn how_to_open(
    examination: &Examination,
    stem: &str,
    gdb: &str,
    app: &str,
) -> Result<String, &'static str> {
    if examination.format == Some(PayloadFormat::PanicText) {
        return Err(
            "This is panic text from the console, without memory contents: GDB cannot\n\
             open it. report.txt has the decoded text.\n\n",
        );
    }
    if examination.verdict == Verdict::NotACoredump {
        return Err(
            "Unknown format: neither GDB nor ESP-IDF's tools can open it. The file is\n\
             as received.\n\n",
        );
    }
    if core(examination).is_some() {
        return Ok(format!(
            "Open it in GDB:\n\n  {gdb} {app} core.elf\n  (gdb) info threads\n  (gdb) bt\n\n\
             or with ESP-IDF's tool:\n\n  \
             esp-coredump info_corefile --core core.elf --core-format elf {app}\n\n"
        ));
    }
    let format = match examination.container {
        Some(Container::Base64) => "b64",
        Some(Container::BareElf) => "elf",
        Some(Container::Raw) | None => "raw",
        Some(Container::Console) => {
            return Err(
                "The dump is part of a console log. Copy the lines between CORE DUMP START and\n\
                 END into a file and open it with esp-coredump --core-format b64.\n\n",
            );
        }
    };
    Ok(format!(
        "The dump has no complete ELF for GDB. Use ESP-IDF's tool:\n\n  \
         esp-coredump info_corefile --core {stem}.dmp --core-format {format} {app}\n\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(
        verdict: Verdict,
        container: Container,
        format: PayloadFormat,
        whole: bool,
    ) -> String {
        let examination = Examination {
            container: Some(container),
            format: Some(format),
            canonical: whole.then(Vec::new),
            ..Examination::unknown(verdict)
        };
        how_to_open(&examination, "x", "gdb", "app.elf").unwrap_or_else(String::from)
    }

    #[test]
    fn each_kind_of_dump_is_opened_in_its_own_way() {
        use {Container as C, PayloadFormat as F, Verdict as V};
        for (verdict, container, format, whole, expected) in [
            (V::Valid, C::Raw, F::Elf, true, "gdb app.elf core.elf"),
            (
                V::Valid,
                C::Base64,
                F::Elf,
                true,
                "--core core.elf --core-format elf",
            ),
            (
                V::Valid,
                C::Raw,
                F::Binary,
                true,
                "--core x.dmp --core-format raw",
            ),
            (
                V::Truncated,
                C::Raw,
                F::Elf,
                false,
                "--core x.dmp --core-format raw",
            ),
            (
                V::Valid,
                C::Base64,
                F::Binary,
                true,
                "--core x.dmp --core-format b64",
            ),
            (
                V::Truncated,
                C::BareElf,
                F::Elf,
                false,
                "--core x.dmp --core-format elf",
            ),
            (V::Valid, C::Console, F::Binary, true, "CORE DUMP START"),
            (V::PanicOnly, C::Console, F::PanicText, false, "report.txt"),
        ] {
            let text = opened(verdict, container, format, whole);
            assert!(text.contains(expected), "{verdict} {container:?}: {text}");
        }
        let junk = Examination::unknown(Verdict::NotACoredump);
        let why = how_to_open(&junk, "x", "gdb", "app.elf").unwrap_err();
        assert!(why.contains("neither GDB nor"), "{why}");
    }
}

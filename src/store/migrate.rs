//! Migrates data of release 0.1 (FORMAT 1), whose registers name builds by version
//! instead of id.

use std::convert::Infallible;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::data_dir::DataDir;
use super::firmware::Firmware;
use super::registry::{BuildRef, Devices, Models, Registry, StateFile};
use super::{Error, Result};
use crate::device::ModelCode;
use crate::journal::{Event, chain};

/// Puts build ids in the place of names, once. A name that fits no stored build stays and
/// serves nothing.
///
/// A failure is said and costs nothing but the next start's doing it again: devices are
/// served by what is in memory.
pub(super) fn migrate(data_dir: &DataDir, registry: &Registry, firmware: &Firmware) {
    let Some(format) = data_dir.older_format() else {
        return;
    };
    match try_migrate(data_dir, registry, firmware) {
        Ok(unknown) => Event::StoreMigrated.entry().say(format_args!(
            "migrated the data directory from format {format}: builds are identified by \
             their id; {unknown} names match no stored build and serve nothing"
        )),
        Err(error) => Event::StoreMigrated
            .entry()
            .at(log::Level::Error)
            .say(format_args!(
                "cannot migrate the data directory from format {format}: {}; retrying at the \
                 next start",
                chain(&error)
            )),
    }
}

/// Gives how many names fit nothing.
fn try_migrate(data_dir: &DataDir, registry: &Registry, firmware: &Firmware) -> Result<usize> {
    let mut names = Names {
        firmware,
        unknown: 0,
        failed: None,
    };
    let mut models = Models::clone(&registry.models.read());
    for (code, model) in &mut models.models {
        let refs = model.active.iter_mut().chain(&mut model.previous);
        let blocked = model.blocked.iter_mut().map(|block| &mut block.build);
        refs.chain(blocked)
            .for_each(|build| names.resolve(code, build));
    }
    let mut devices = Devices::clone(&registry.devices.read());
    for device in devices.devices.values_mut().map(Arc::make_mut) {
        if let (Some(code), Some(pin)) = (&device.model, &mut device.pin) {
            names.resolve(code, pin);
        }
    }
    let models = put(&registry.models, models);
    let devices = put(&registry.devices, devices);
    models.and(devices)?;
    if let Some(error) = names.failed {
        return Err(error);
    }
    data_dir.set_format()?;
    Ok(names.unknown)
}

/// Keeps a register with its copy; in memory also where the disk takes it not.
fn put<T>(register: &StateFile<T>, migrated: T) -> Result<()>
where
    T: Clone + Default + DeserializeOwned + Send + Serialize + Sync + 'static,
{
    let outcome = register.change(|now| {
        now.clone_from(&migrated);
        Ok::<_, Infallible>(())
    });
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => {
            register.note(move |now| now.clone_from(&migrated));
            Err(error)
        }
    }
}

struct Names<'a> {
    firmware: &'a Firmware,
    unknown: usize,
    failed: Option<Error>,
}

impl Names<'_> {
    fn resolve(&mut self, code: &ModelCode, build: &mut BuildRef) {
        let BuildRef::Name(name) = &*build else {
            return;
        };
        match self.firmware.called(code, name) {
            Ok(Some(id)) => *build = id.into(),
            // what it stands for may be there and cannot be read now
            Ok(None) => match self.firmware.check_read(code) {
                Ok(()) => self.unknown += 1,
                Err(error) => self.failed = Some(error),
            },
            Err(error) => self.failed = Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::bundle::{BundleLimits, fixture};
    use crate::clock::Moment;
    use crate::store::Store;
    use crate::store::firmware::Arrival;
    use crate::store::publish::{FILE_MODE, SECRET_MODE, replace};

    fn open(root: &Path) -> Store {
        Store::open(root, None, None, BundleLimits::for_bundles_of(1 << 20)).unwrap()
    }

    fn upload(store: &Store, build: &fixture::Build<'_>, sequence: u64) -> BuildRef {
        let mut upload = store.firmware.incoming().unwrap();
        upload.write(&build.zip()).unwrap();
        let arrival = Arrival {
            at: Moment::now(),
            sequence,
            active: None,
            version: None,
            by: None,
        };
        let model = "lamp".parse().unwrap();
        let published = store.firmware.publish(&model, upload, &arrival, 0);
        published.unwrap().build.id().into()
    }

    fn other(seed: u8) -> fixture::Build<'static> {
        fixture::Build {
            seed,
            ..fixture::Build::of("lamp")
        }
    }

    const MODELS: &str = r#"{"schema":1,"last_id":1,"models":{"lamp":{"id":1,
        "active":"1.2.3","previous":["ASIDE","0.9"],"blocked":["ASIDE","0.8"]}}}"#;
    const DEVICES: &str = r#"{"schema":1,"devices":{
        "k1":{"model":"lamp","pin":"ASIDE"},"k2":{"model":"lamp","pin":"0.9"}}}"#;

    /// A data directory of release 0.1 with two builds of one version: the older and the newer.
    fn of_release_0_1(root: &Path) -> (BuildRef, BuildRef) {
        let store = open(root);
        let builds = (upload(&store, &other(1), 1), upload(&store, &other(2), 2));
        drop(store);
        let aside = crate::digest::Sha256::of(&other(1).elf()).short(8);
        for (file, text) in [("models.json", MODELS), ("devices.json", DEVICES)] {
            let text = text.replace("ASIDE", &format!("1.2.3~{aside}"));
            replace(&root.join("state"), file, text.as_bytes(), SECRET_MODE).unwrap();
        }
        replace(root, "FORMAT", b"1\n", FILE_MODE).unwrap();
        builds
    }

    #[test]
    fn names_of_an_older_release_become_ids_once() {
        let root = tempfile::tempdir().unwrap();
        let (older, newer) = of_release_0_1(root.path());
        let name = |name: &str| BuildRef::Name(name.to_owned());
        for _ in 0..2 {
            let store = open(root.path());
            let model = store.registry.models.read().models[&"lamp".parse().unwrap()].clone();
            assert_eq!(model.active, Some(newer.clone()));
            assert_eq!(model.previous, [older.clone(), name("0.9")]);
            let blocked: Vec<_> = model
                .blocked
                .iter()
                .map(|b| (&b.build, &*b.version))
                .collect();
            assert_eq!(blocked, [(&older, "1.2.3"), (&name("0.8"), "0.8")]);
            let devices = store.registry.devices.read();
            let pin = |key: &str| devices.devices[&key.parse().unwrap()].pin.clone();
            assert_eq!(pin("k1"), Some(older.clone()));
            assert_eq!(pin("k2"), Some(name("0.9")));
            assert_eq!(
                fs::read_to_string(root.path().join("FORMAT")).unwrap(),
                "2\n"
            );
            // what is uploaded later gives an old name no meaning, not even over a restart
            let late = fixture::Build {
                version: "0.9",
                ..other(3)
            };
            upload(&store, &late, 3);
        }
    }

    #[test]
    fn a_migration_that_was_cut_short_is_done_again_at_the_next_start() {
        let root = tempfile::tempdir().unwrap();
        let (older, newer) = of_release_0_1(root.path());
        let devices = root.path().join("state/devices.json");
        let before = fs::read(&devices).unwrap();
        drop(open(root.path()));
        // models.json was written, devices.json and FORMAT were not
        replace(
            &root.path().join("state"),
            "devices.json",
            &before,
            SECRET_MODE,
        )
        .unwrap();
        replace(root.path(), "FORMAT", b"1\n", FILE_MODE).unwrap();
        let store = open(root.path());
        let model = store.registry.models.read().models[&"lamp".parse().unwrap()].clone();
        assert_eq!(model.active, Some(newer));
        let devices = store.registry.devices.read();
        assert_eq!(devices.devices[&"k1".parse().unwrap()].pin, Some(older));
    }

    #[test]
    fn a_name_that_may_stand_for_what_cannot_be_read_now_is_kept_for_the_next_start() {
        let root = tempfile::tempdir().unwrap();
        let (_, newer) = of_release_0_1(root.path());
        let bundle = root.path().join("assets/lamp/firmware-1.2.3.zip");
        let whole = fs::read(&bundle).unwrap();
        fs::remove_file(&bundle).unwrap();
        std::os::unix::fs::symlink("firmware-1.2.3.zip", &bundle).unwrap();
        let active = |store: &Store| {
            let models = store.registry.models.read();
            models.models[&"lamp".parse().unwrap()].active.clone()
        };
        let store = open(root.path());
        assert!(active(&store).unwrap().id() != newer.id());
        assert_eq!(
            fs::read_to_string(root.path().join("FORMAT")).unwrap(),
            "1\n"
        );
        drop(store);
        fs::remove_file(&bundle).unwrap();
        replace(
            bundle.parent().unwrap(),
            "firmware-1.2.3.zip",
            &whole,
            FILE_MODE,
        )
        .unwrap();
        assert_eq!(active(&open(root.path())), Some(newer));
        assert_eq!(
            fs::read_to_string(root.path().join("FORMAT")).unwrap(),
            "2\n"
        );
        let state = root.path().join("state");
        let copy = fs::read(state.join("models.json.copy")).unwrap();
        assert_eq!(
            copy,
            fs::read(state.join("models.json")).unwrap(),
            "the copy too"
        );
    }
}

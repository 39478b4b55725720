//! A gateway with a fleet: what a person there does, and what is seen from both sides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::daemon::{Answer, Daemon, Start, event_lines};
use crate::device::{Device, Fate, Memory};
use crate::firmware::Firmware;
use crate::ledger::{Ledger, Seen, State};

/// What a rollout is waited for, at most.
const PATIENCE: Duration = Duration::from_secs(20);
const CONFIG: &str = "[rollouts]\nmax_downloads = 40\n";
pub(crate) const BASE: &str = "1.0.0";
pub(crate) const TARGET: &str = "2.0.0";

pub(crate) struct Site {
    daemon: Option<Daemon>,
    pub(crate) ledger: Arc<Ledger>,
    known: Arc<Vec<Arc<Firmware>>>,
    ca: Arc<Vec<u8>>,
    threads: Vec<JoinHandle<()>>,
}

/// The key of the device with this number.
pub(crate) fn key(number: usize) -> String {
    format!("d{number:02}")
}

/// The clients of a mixed fleet.
pub(crate) fn mixed(number: usize) -> Client {
    use Client::{Asks, Etag, Plain, Ranges, Resumes};
    match number % 7 {
        0 => Plain,
        2 => Ranges,
        3 => Etag,
        5 => Resumes,
        _ => Asks,
    }
}

/// A rollout of [`TARGET`] that goes fast; `more` is put over it.
pub(crate) fn fast(more: Value) -> Value {
    let mut body = json!({
        "model": "lamp", "build": TARGET, "canary": "d01,d02", "waves": "50%,100%",
        "canary_soak": "1s", "soak": "0s", "watch": "1s", "return_within": "30s", "parallel": 20,
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

impl Site {
    /// A gateway with a model `lamp`, an active base and a target in store.
    pub(crate) fn new() -> Self {
        Self::on(Start::new(CONFIG))
    }

    pub(crate) fn on(start: Start) -> Self {
        let daemon = start.start();
        let known = [BASE, TARGET, "3.0.0"].map(|version| Arc::new(Firmware::new(version)));
        let site = Self {
            ca: Arc::new(daemon.ca()),
            ledger: Arc::default(),
            known: Arc::new(known.into()),
            daemon: Some(daemon),
            threads: Vec::new(),
        };
        site.find();
        site.model("lamp", &[BASE, TARGET]);
        site
    }

    /// Makes a model with builds, of which the first one is active.
    pub(crate) fn model(&self, model: &str, versions: &[&str]) {
        let head = format!("PUT /api/models/{model}");
        self.manage(&head, &json!({ "activate": "manual" }));
        for version in versions {
            self.upload(model, version);
        }
        let head = format!("PUT /api/models/{model}/active");
        self.manage(&head, &json!({ "version": versions[0] }));
    }

    pub(crate) fn upload(&self, model: &str, version: &str) {
        let name = format!("ci-{model}-{version}");
        let role = json!({ "name": name, "role": "pipeline", "model": model });
        let token = self.manage("POST /api/tokens", &role);
        let head = format!(
            "POST /api/pipeline/models/{model}/firmware\r\nAuthorization: Bearer {}",
            token["token"].as_str().unwrap()
        );
        let answer = self
            .daemon()
            .request(&head, &self.firmware(version).bundle(model));
        let words = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{words}");
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    pub(crate) fn firmware(&self, version: &str) -> &Arc<Firmware> {
        let mut known = self.known.iter();
        known.find(|one| one.version == version).unwrap()
    }

    /// Tells the devices where the gateway is.
    fn find(&self) {
        let address = self.daemon().address;
        self.ledger.change(|state| state.address = Some(address));
    }

    /// A request over the control socket that has to succeed.
    pub(crate) fn manage(&self, head: &str, body: &Value) -> Value {
        self.daemon().manage(head, body)
    }

    /// A request of a device, by its token.
    pub(crate) fn as_device(&self, token: &str, head: &str) -> Answer {
        let head = format!("{head}\r\nAuthorization: Bearer {token}");
        self.daemon().request(&head, b"")
    }

    /// Registers a device and switches it on; its token.
    pub(crate) fn device(&mut self, model: &str, key: &str, client: Client) -> String {
        let registered = json!({ "device_key": key, "model": model });
        let made = self.manage("POST /api/devices", &registered);
        let token = made["token"].as_str().unwrap().to_owned();
        self.board(model, key, client, &token);
        token
    }

    /// Switches a device on that has this token.
    pub(crate) fn board(&mut self, model: &str, key: &str, client: Client, token: &str) {
        let head = format!("GET /api/models/{model}");
        let active = self.manage(&head, &Value::Null)["active"].clone();
        let device = Device {
            key: key.to_owned(),
            token: token.to_owned(),
            client,
            ca: Arc::clone(&self.ca),
            ledger: Arc::clone(&self.ledger),
            running: Arc::clone(self.firmware(active.as_str().unwrap())),
            known: Arc::clone(&self.known),
            memory: Memory::default(),
        };
        self.ledger.note(key, |_| {});
        self.threads.push(std::thread::spawn(move || device.live()));
    }

    /// Switches `count` devices of `lamp` on and waits until all were heard; their tokens.
    pub(crate) fn fleet(
        &mut self,
        count: usize,
        client: impl Fn(usize) -> Client,
    ) -> BTreeMap<String, String> {
        let mut tokens = BTreeMap::new();
        for number in 1..=count {
            let key = key(number);
            let token = self.device("lamp", &key, client(number));
            tokens.insert(key, token);
        }
        self.ledger.until("all were heard", |state| {
            state.devices.values().all(|seen| seen.polls >= 2)
        });
        tokens
    }

    /// What becomes of a device with the target.
    pub(crate) fn fate(&self, key: &str, fate: Fate) {
        let of = (key.to_owned(), TARGET.to_owned());
        self.ledger.change(|state| state.fates.insert(of, fate));
    }

    /// The devices of a rollout in their order.
    pub(crate) fn order(&self, id: &str) -> Vec<String> {
        let rollout = self.rollout(id);
        let members = rollout["members"].as_array().unwrap().iter();
        let keys = members.map(|member| member["device"].as_str().unwrap().to_owned());
        keys.collect()
    }

    /// Waits until a wave, counted from 1, is over, and releases the next one: only its
    /// devices and those before may get the target.
    pub(crate) fn release_after(&self, id: &str, wave: usize) {
        let rollout = self.until_over(id, wave);
        let members = rollout["waves"][wave]["members"].as_u64().unwrap();
        let released = self.order(id).into_iter().take(members.try_into().unwrap());
        self.only(TARGET, released);
        self.command(id, "release");
    }

    pub(crate) fn until_over(&self, id: &str, wave: usize) -> Value {
        self.until(id, "a wave is over", |rollout| {
            !rollout["waves"][wave - 1]["over_at"].is_null()
        })
    }

    /// Starts a rollout; its id.
    pub(crate) fn start(&self, body: &Value) -> String {
        let started = self.manage("POST /api/rollouts", body);
        started["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn rollout(&self, id: &str) -> Value {
        self.manage(&format!("GET /api/rollouts/{id}"), &Value::Null)
    }

    pub(crate) fn command(&self, id: &str, what: &str) -> Value {
        self.manage(&format!("POST /api/rollouts/{id}/{what}"), &json!({}))
    }

    /// Waits until something is true of a rollout.
    pub(crate) fn until(&self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let rollout = self.rollout(id);
            if holds(&rollout) {
                return rollout;
            }
            if Instant::now() > end {
                let devices = &self.ledger.state().devices;
                panic!("{what}: {rollout:#}\n{devices:#?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn until_state(&self, id: &str, state: &str) -> Value {
        self.until(id, state, |rollout| rollout["state"] == state)
    }

    /// Waits until a build is the active one of its model.
    pub(crate) fn until_active(&self, model: &str, version: &str) {
        let end = Instant::now() + PATIENCE;
        let head = format!("GET /api/models/{model}");
        while self.manage(&head, &Value::Null)["active"] != version {
            assert!(Instant::now() < end, "{version} is not active");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Only these devices may get a version from now on.
    pub(crate) fn only<K: Into<String>>(&self, version: &str, keys: impl IntoIterator<Item = K>) {
        let keys = keys.into_iter().map(K::into).collect();
        self.ledger
            .change(|state| state.only.insert(version.to_owned(), keys));
    }

    /// Kills the daemon and starts it again.
    pub(crate) fn kill_and_start(&mut self) {
        let daemon = self.daemon.take().unwrap();
        let folder = Arc::clone(&daemon.folder);
        daemon.kill();
        self.daemon = Some(Start::on(folder, CONFIG).start());
        self.find();
    }

    /// Ends the daemon, does something with its data, and starts it again.
    pub(crate) fn stop_and_start(&mut self, meanwhile: impl FnOnce(&std::path::Path)) {
        let daemon = self.daemon.take().unwrap();
        let folder = Arc::clone(&daemon.folder);
        assert_eq!(daemon.stop(), Some(0));
        meanwhile(folder.path());
        self.daemon = Some(Start::on(folder, CONFIG).start());
        self.find();
    }

    /// All events of this name since the gateway was made, whoever ran then.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        let lines = event_lines(&self.daemon().data());
        let events = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        events
            .filter(|event: &Value| event["event"] == name)
            .collect()
    }

    /// Waits for an event of this name about a device.
    pub(crate) fn until_event(&self, name: &str, key: &str) {
        self.daemon().wait_for_event(name, key);
    }

    pub(crate) fn seen(&self, key: &str) -> Seen {
        self.ledger.state().devices[key].clone()
    }

    /// All devices asked so many times more: what they were given by now is seen.
    pub(crate) fn all_ask_again(&self) {
        let polls = |state: &State| -> BTreeMap<String, u64> {
            let devices = state.devices.iter();
            devices
                .map(|(key, seen)| (key.clone(), seen.polls))
                .collect()
        };
        let before = polls(&self.ledger.state());
        self.ledger.until("all ask again", |state| {
            let mut now = state.devices.iter();
            now.all(|(key, seen)| seen.is_dead || seen.polls >= before[key] + 2)
        });
    }

    /// Versions that run, and on how many devices.
    pub(crate) fn versions(&self) -> BTreeMap<String, usize> {
        let mut versions = BTreeMap::new();
        for seen in self.ledger.state().devices.values() {
            *versions.entry(seen.running.clone()).or_default() += 1;
        }
        versions
    }

    /// Waits until so many devices run a version.
    pub(crate) fn until_running(&self, version: &str, count: usize) {
        self.ledger.until(version, |state| {
            let devices = state.devices.values();
            devices.filter(|seen| seen.running == version).count() == count
        });
    }

    /// A device crashes by what it runs, boots, and uploads its dump.
    pub(crate) fn crash(&self, key: &str) {
        self.ledger
            .change(|state| state.to_crash.insert(key.to_owned()));
    }

    /// Switches a device off and on.
    pub(crate) fn reset(&self, key: &str) {
        self.ledger
            .change(|state| state.to_reset.insert(key.to_owned()));
    }

    /// Nobody was sent what it may not get.
    pub(crate) fn nothing_leaked(&self) {
        let state = self.ledger.state();
        assert!(state.leaked.is_empty(), "{:?}", state.leaked);
    }

    /// No device got an answer that it did not expect.
    pub(crate) fn no_errors(&self) {
        self.errors_are(|_| false);
    }

    /// The same, while the daemon was away now and then.
    pub(crate) fn no_errors_but_of_connections(&self) {
        self.errors_are(|error| error.starts_with("connection:"));
    }

    fn errors_are(&self, allowed: impl Fn(&str) -> bool) {
        for (key, seen) in &self.ledger.state().devices {
            let are_allowed = seen.errors.iter().all(|error| allowed(error));
            assert!(are_allowed, "{key}: {:?}", seen.errors);
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.ledger.change(|state| state.is_over = true);
        // a device in the middle of a request ends with the daemon
        self.daemon = None;
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "a device panicked"
            );
        }
    }
}

/// The members of a rollout in a state.
pub(crate) fn members(rollout: &Value, state: &str) -> Vec<String> {
    let members = rollout["members"].as_array().unwrap().iter();
    let members = members.filter(|member| member["state"] == state);
    let keys = members.map(|member| member["device"].as_str().unwrap().to_owned());
    keys.collect()
}

pub(crate) fn member<'a>(rollout: &'a Value, key: &str) -> &'a Value {
    let mut members = rollout["members"].as_array().unwrap().iter();
    members.find(|member| member["device"] == key).unwrap()
}

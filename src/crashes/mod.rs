//! Crash groups: one bug, on any device and in any build of a model. What belongs
//! together is decided in [`Register`], without a clock or a disk; here it meets both.

mod absorb;
mod completion;
mod counting;
mod deciding;
mod gateway_induced;
mod id;
mod naming;
mod newness;
mod news;
mod no_dump;
mod of_build;
mod pins;
mod placing;
mod rebuild;
mod register;
mod resign;
mod state;
mod stored_dumps;
#[cfg(test)]
mod tests;
mod view;

pub use counting::{Occurrence, unreadable};
pub use deciding::{Impossible, Wish};
pub use gateway_induced::{has_gateway_client, unreachable_for};
pub use id::is_valid;
pub use newness::{Compared, Newness};
pub use of_build::BuildCrashes;
pub use placing::Decoded;
pub use rebuild::name_of;
pub use register::Register;
pub use resign::{Changes, NewSignatures};
pub use state::{Until, of as state_of};
pub use stored_dumps::DumpsIn;
pub use view::Filter;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Moment;
use crate::journal::chain;
use crate::store::compact::Fingerprint;
use crate::store::crashes::{At, Choice, CrashFiles, Group, GroupFile};
use crate::store::{self, Store};

/// A group that nothing was decoded of is told of after this time.
const OVERDUE: Duration = Duration::from_secs(300);
/// Group files that are written with one sync.
const BATCH: usize = 500;

/// The crash groups of the gateway. Methods that write block.
#[derive(Debug)]
pub struct Crashes {
    store: Arc<Store>,
    /// Read when it is first needed.
    memory: OnceLock<Mutex<Memory>>,
    /// Held while a decision is made and written.
    deciding: Mutex<()>,
    /// Earlier decisions could not be read.
    undecidable: AtomicBool,
}

#[derive(Debug, Default)]
struct Memory {
    register: Register,
    /// When groups that nobody was told of came.
    arrived: HashMap<String, Instant>,
}

/// Why a decision was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Impossible(#[from] Impossible),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("earlier decisions could not be read: restart the daemon once the disk is repaired")]
    Undecidable,
}

impl Crashes {
    /// The groups of `store`; nothing is read yet.
    pub fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            memory: OnceLock::new(),
            deciding: Mutex::new(()),
            undecidable: AtomicBool::new(false),
        }
    }

    fn files(&self) -> &CrashFiles {
        &self.store.crashes
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        let memory = self.memory.get_or_init(|| {
            let loaded = self.files().load().unwrap_or_else(|error| {
                let entry = error.event().entry();
                entry.say(format_args!(
                    "cannot read the decisions about crash groups: {}: none can be made",
                    chain(&error)
                ));
                self.undecidable.store(true, Ordering::Relaxed);
                store::crashes::Loaded::default()
            });
            let register = Register::load(loaded);
            Mutex::new(Memory {
                register,
                arrived: HashMap::new(),
            })
        });
        memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with all groups as they are now.
    pub fn with<R>(&self, work: impl FnOnce(&Register) -> R) -> R {
        work(&self.memory().register)
    }

    /// The id of the group that a crash is for. It is counted by [`Self::count`].
    pub fn assign(&self, crash: &Occurrence) -> String {
        let mut memory = self.memory();
        let id = memory.register.assign(crash);
        let is_told = memory.register.get(&id).is_none_or(|group| group.announced);
        if !is_told {
            memory
                .arrived
                .entry(id.clone())
                .or_insert_with(Instant::now);
        }
        id
    }

    /// Counts a crash that was stored, or written down.
    pub fn count(&self, crash: &Occurrence) {
        self.memory().register.count(crash);
    }

    /// One crash of a device is counted in the group `into`, by another record of it.
    pub fn uncount(&self, fingerprint: &str, device: &str, into: &str) {
        self.memory().register.uncount(fingerprint, device, into);
    }

    /// A device's crash has another fingerprint than before.
    pub fn rename(&self, former: &str, crash: &Occurrence) {
        self.memory().register.rename(former, crash);
    }

    /// The crash that `id` was assigned to could not be stored.
    pub fn forget_unused(&self, id: &str) {
        let mut memory = self.memory();
        memory.register.forget_unused(id);
        memory.arrived.remove(id);
    }

    /// A dump was decoded, or cannot be. Gives the id of its group now.
    pub fn decoded(&self, crash: &Occurrence, decoded: Decoded) -> Option<String> {
        self.memory().register.decoded(crash, decoded)
    }

    /// Gives fingerprints new signatures; a dry run only says what that would change.
    pub fn resign(&self, signatures: &NewSignatures, dry_run: bool) -> Changes {
        let mut memory = self.memory();
        match dry_run {
            true => memory.register.clone().resign(signatures),
            false => memory.register.resign(signatures),
        }
    }

    /// The id of a fingerprint's group.
    pub fn id_of(&self, fingerprint: &Fingerprint) -> Option<String> {
        self.memory().register.id_with(fingerprint)
    }

    /// Writes the events that are due, then the groups that changed.
    ///
    /// # Errors
    /// As [`CrashFiles::write`]; what was not written stays due.
    pub fn keep(&self) -> store::Result<()> {
        let news = {
            let mut memory = self.memory();
            let Memory { register, arrived } = &mut *memory;
            let is_overdue = |since: &Instant| since.elapsed() >= OVERDUE;
            let news = register.news(|id| arrived.get(id).is_none_or(is_overdue));
            arrived.retain(|id, _| register.get(id).is_some_and(|group| !group.announced));
            news
        };
        for event in news {
            event.say(self.rollout_of(&event).as_deref());
            self.memory().register.told(&event);
        }
        self.flush()
    }

    /// The rollout that gives out the build of an event.
    fn rollout_of(&self, news: &news::News) -> Option<String> {
        let build = news.build.as_deref()?;
        let latest = self.store.rollouts.all_latest().into_iter();
        let mut live = latest.filter(|rollout| rollout.is_live());
        let found = live.find(|rollout| rollout.target.build_id.to_string() == build)?;
        Some(found.id.clone())
    }

    /// Writes the groups that changed.
    ///
    /// # Errors
    /// As [`CrashFiles::write`]; what was not written stays due.
    pub fn flush(&self) -> store::Result<()> {
        loop {
            let files: Vec<(String, GroupFile)> = self.memory().register.take_dirty(BATCH);
            if files.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.files().write(&files) {
                self.memory().register.put_back(&files);
                return Err(error);
            }
        }
    }

    /// Decides something about groups: on the disk first, then in memory. Gives the
    /// id of the group that it is about then.
    ///
    /// # Errors
    /// [`Impossible`], or what the disk says; nothing is changed then.
    pub fn decide(
        &self,
        by: &str,
        choose: impl FnOnce(&Register) -> Result<Choice, Impossible>,
    ) -> Result<Group, Error> {
        let _deciding = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        let decision = self.with(|register| {
            let choice = choose(register)?;
            Ok::<_, Impossible>(register.decide(choice, by, At::of(Moment::now().wall)))
        })?;
        if self.undecidable.load(Ordering::Relaxed) {
            return Err(Error::Undecidable);
        }
        self.files().append(&decision)?;
        let about = match &decision.choice {
            Choice::State { group, .. } | Choice::Note { group, .. } => group,
            Choice::Merge { into, .. } | Choice::Split { into, .. } => into,
        };
        let group = {
            let mut memory = self.memory();
            memory.register.apply(&decision);
            let group = memory.register.get(about).cloned();
            group.ok_or_else(|| Impossible::NoGroup(about.clone()))?
        };
        // the log has it: the files may follow later
        if let Err(error) = self.flush() {
            let entry = error.event().entry();
            entry.say(format_args!("cannot save crash groups: {}", chain(&error)));
        }
        Ok(group)
    }
}

//! What a device gets that asks, and what its downloads tell. What it gets is noted before it
//! gets it.

use std::sync::Arc;

use super::{Rollouts, event};
use crate::build_id::BuildId;
use crate::config::OnStop;
use crate::device::{DeviceKey, ModelCode};
use crate::rollouts::evaluate::{Facts, Now, What, evaluate};
use crate::rollouts::serve::{Gets, Served, Why, goes_behind, places_taken, serve};
use crate::rollouts::{RunningDownloads, RunningUploads};
use crate::store;
use crate::store::rollouts::{Member, Phase, Rollout, Save};

/// What a device does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ask {
    /// It wants to know the version.
    Version,
    /// It fetches the image.
    Image,
    /// It shows that it has the image.
    HasIt,
}

impl Rollouts {
    /// How many more downloads all rollouts may have, beside those of `rollout`.
    fn free(&self, rollout: &Rollout) -> usize {
        let others = self.store.rollouts.all_latest();
        let others = others
            .iter()
            .filter(|other| other.id != rollout.id && other.is_offering());
        let taken: usize = others
            .map(|other| places_taken(other, self.clock_s(other)))
            .sum();
        let own = places_taken(rollout, self.clock_s(rollout));
        let allowed = self.config.borrow().rollouts.max_downloads;
        usize::try_from(allowed)
            .unwrap_or(usize::MAX)
            .saturating_sub(taken + own)
    }

    /// What the model's last rollout says a device gets if it asks for a version; `None` if
    /// it says nothing: then the model's active build counts.
    pub fn serves(&self, model: &ModelCode, device: &DeviceKey) -> Option<(Arc<Rollout>, Served)> {
        self.serves_for(model, device, Ask::Version)
    }

    fn serves_for(
        &self,
        model: &ModelCode,
        device: &DeviceKey,
        ask: Ask,
    ) -> Option<(Arc<Rollout>, Served)> {
        let rollout = self.store.rollouts.of_model(model)?;
        if !self.counts(&rollout) {
            return None;
        }
        let served = self.at(&rollout, |now| self.served(&rollout, device, ask, now));
        Some((rollout, served))
    }

    /// What a rollout gives a device that asks now. Whoever gives a place away by it holds
    /// the rollouts still: the places of all of them are counted.
    fn served(&self, rollout: &Rollout, device: &DeviceKey, ask: Ask, now: Now<'_>) -> Served {
        let served = serve(rollout, device, now, self.free(rollout));
        let is_new = matches!(served.why, Why::Eligible | Why::Offered);
        let is_promise = served.gets == Gets::Target && is_new && ask == Ask::Version;
        // a download is noted first, or does not begin
        if is_promise && self.store.rollouts.is_behind(&rollout.model) {
            return Served::base(Why::NotSaved);
        }
        match is_promise && served.why == Why::Eligible && goes_behind(rollout, device, now.s) {
            true => Served::base(Why::OthersFirst),
            false => served,
        }
    }

    /// Whether a rollout still decides what devices get: while it is live, at its end until
    /// its target is the active build, and after a stop that leaves devices where they are,
    /// until another build is active.
    fn counts(&self, rollout: &Rollout) -> bool {
        if rollout.is_live() || rollout.effect_due {
            return true;
        }
        let stays = rollout.phase == Phase::Stopped && rollout.spec.on_stop == OnStop::Stay;
        let models = self.store.registry.models.read();
        let active = models.models.get(&rollout.model);
        let active = active.and_then(store::registry::Model::active_id);
        stays && active == Some(rollout.base.build_id)
    }

    /// A device asks, and what it gets is noted before it gets it. `named` is a build that
    /// it names itself or goes on with. `None` if no rollout says anything.
    ///
    /// # Errors
    /// What the disk says: it is served nothing by the rollout then.
    pub fn ask(
        &self,
        model: &ModelCode,
        device: &DeviceKey,
        ask: Ask,
        named: Option<BuildId>,
    ) -> store::Result<Option<(BuildId, Gets)>> {
        let Some((rollout, served)) = self.serves_for(model, device, ask) else {
            return Ok(None);
        };
        let wants_it = named.is_none_or(|named| named == rollout.target.build_id);
        let gets_it = served.gets == Gets::Target && wants_it;
        // who shows its ETag has it, whatever its wave
        let shows_it = ask == Ask::HasIt && wants_it;
        let told = (gets_it || shows_it).then_some(ask);
        if !rollout.is_live() || !self.is_news(&rollout, device, told) {
            return Ok(Some((rollout.target.build_id, served.gets)));
        }
        self.see(&rollout, device);
        if shows_it {
            let evidence = String::from("etag");
            let has_it = event(device, What::HasIt { evidence });
            self.tell(model, vec![has_it], &Facts::default());
        }
        let answer = self.change(model, |rollout, now| {
            let mut events = vec![event(device, What::Asked)];
            // somebody else may have got the last place meanwhile
            let served = self.served(rollout, device, ask, now);
            let gets_it = served.gets == Gets::Target && wants_it;
            match ask {
                Ask::Version if gets_it => events.push(event(device, What::Answered)),
                Ask::Image if gets_it => {
                    // of what it crashed with before its first download it was not served
                    let is_first = rollout.member(device).is_some_and(is_untouched);
                    if is_first {
                        let sequence = self.store.coredumps.last_sequence();
                        events.push(event(device, What::Judged { sequence }));
                    }
                    events.push(event(device, What::Began));
                }
                Ask::Version | Ask::Image | Ask::HasIt => {}
            }
            let outcome = evaluate(rollout, &events, &Facts::default(), now);
            let save = match (gets_it && ask == Ask::Image, outcome.is_decision) {
                (true, true) => Save::Must,
                // what was only promised is promised again after a restart
                (false, true) if ask == Ask::Version => Save::Later,
                (false, true) => Save::Try,
                (_, false) => Save::Later,
            };
            (outcome, save, (rollout.target.build_id, served.gets))
        })?;
        Ok(answer)
    }

    /// All of an image was delivered to a device.
    pub fn delivered(&self, model: &ModelCode, device: &DeviceKey, build: BuildId) {
        self.download(model, device, build, What::Delivered);
    }

    /// A download broke off after so many bytes of the image.
    pub fn broke_off(&self, model: &ModelCode, device: &DeviceKey, build: BuildId, offset: u64) {
        self.download(model, device, build, What::BrokeOff { offset });
    }

    /// The image does not fit a device.
    pub fn incompatible(&self, model: &ModelCode, device: &DeviceKey, build: BuildId, why: &str) {
        let why = why.to_owned();
        self.download(model, device, build, What::Incompatible { why });
    }

    fn download(&self, model: &ModelCode, device: &DeviceKey, build: BuildId, what: What) {
        let Some(rollout) = self.store.rollouts.live(model) else {
            return;
        };
        if rollout.member(device).is_none() {
            return;
        }
        let what = match what {
            what if rollout.target.build_id == build => what,
            What::Delivered if rollout.base.build_id == build => What::TookBase,
            _ => return,
        };
        // what it said before is from before
        self.see(&rollout, device);
        self.tell(model, vec![event(device, what)], &Facts::default());
    }

    /// The downloads under way.
    pub fn downloads(&self) -> &RunningDownloads {
        &self.downloads
    }

    /// The uploads of dumps under way.
    pub fn uploads(&self) -> &RunningUploads {
        &self.uploads
    }

    /// Whether nobody may get a build any more: it is blocked, or its rollout was stopped.
    pub fn is_cut_off(&self, model: &ModelCode, build: BuildId) -> bool {
        let last = self.store.rollouts.of_model(model);
        let is_stopped = last.is_some_and(|last| {
            last.effect_due && last.phase == Phase::Stopped && last.target.build_id == build
        });
        let models = self.store.registry.models.read();
        let entry = models.models.get(model);
        is_stopped || entry.is_some_and(|entry| entry.is_blocked(build))
    }
}

/// Whether no download of the target to a device came far.
fn is_untouched(member: &Member) -> bool {
    !member.got_it() && member.broke_off.is_empty() && member.progress_s.is_none()
}

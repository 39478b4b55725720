//! What happens at each step.

use espgate::rollouts::evaluate::{Crash, Event, What};
use espgate::rollouts::serve::Gets;
use espgate::store::rollouts::MemberState;

use super::board::{Download, Fault, Runs};
use super::{HOUR, Site, Step};

impl Site {
    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Contact(at) => self.contact(at),
            Step::FirstWords(at, life) if self.lives(at, life) && self.has_network => {
                self.speak(at);
            }
            Step::Fetch(at, life) if self.lives(at, life) => self.fetch(at),
            Step::Progress(at, life)
                if self.lives(at, life)
                    && self.has_network
                    && self.boards[at].download.is_some() =>
            {
                self.tell(at, vec![What::Progress]);
                self.plan(60, Step::Progress(at, life));
            }
            Step::DownloadEnds(at, life) if self.lives(at, life) => self.download_ends(at),
            Step::Boot(at, life) if self.lives(at, life) => self.boot(at),
            Step::Crash(at, life) if self.lives(at, life) => {
                self.boards[at].dump = true;
                self.boot(at);
            }
            Step::Hang(at, life) if self.lives(at, life) => self.boards[at].is_alive = false,
            Step::Judge(at, dump) => {
                self.dumps += 1;
                let crash = Crash::New {
                    group: String::from("c7k2fq"),
                    signature: String::from("abort | app_main"),
                };
                let sequence = self.dumps;
                self.tell(
                    at,
                    vec![What::Crashed {
                        dump,
                        sequence,
                        crash,
                    }],
                );
            }
            Step::Look => {
                if self.has_power {
                    let events = std::mem::take(&mut self.later);
                    let facts = self.facts();
                    self.tell_all(&events, &facts);
                }
                self.plan(self.look, Step::Look);
            }
            Step::Network(is_back) => {
                self.has_network = is_back;
                if !is_back {
                    self.drop_downloads();
                }
            }
            Step::Power(is_back) => self.power(is_back),
            Step::Restart if self.has_power => {
                // the sockets of downloads end with the daemon
                self.drop_downloads();
                self.gateway.restart(self.now);
            }
            Step::Clock => {
                let until = self.now - self.gateway.down + HOUR;
                if self.gateway.rollout.is_offering() {
                    self.gateway.rollout.clock_unsure_until_s = Some(until);
                }
            }
            Step::Pin(at, yes) => {
                self.boards[at].is_pinned = yes;
                self.tell(at, vec![What::Pinned(yes)]);
            }
            Step::Retire(at, yes) => self.tell(at, vec![What::Retired(yes)]),
            Step::Person(number) => {
                if let Some(command) = self.commands.get(number).cloned() {
                    let was_stopped = self.gateway.is_stopped();
                    self.gateway.command(&command, self.now);
                    if self.gateway.is_stopped() && !was_stopped {
                        self.cut();
                    }
                }
            }
            _ => {}
        }
    }

    fn lives(&self, at: usize, life: u64) -> bool {
        let board = &self.boards[at];
        self.has_power && board.is_alive && board.life == life
    }

    fn power(&mut self, is_back: bool) {
        self.has_power = is_back;
        if !is_back {
            self.off_since = self.now;
            self.drop_downloads();
            return;
        }
        self.gateway.down += self.now - self.off_since;
        self.gateway.restart(self.now);
        for at in 0..self.boards.len() {
            if self.boards[at].is_alive {
                self.boot(at);
            }
        }
    }

    /// Connections are gone without a word.
    fn drop_downloads(&mut self) {
        self.gateway.forget_downloads();
        for board in &mut self.boards {
            if board.download.take().is_some() {
                board.life += 1;
            }
        }
    }

    fn runs(&self, at: usize) -> What {
        let evidence = String::from("running");
        match self.boards[at].runs {
            Runs::Target => What::RunsTarget { evidence },
            Runs::Base => What::RunsOther {
                build: String::from("1.4.2"),
                evidence,
            },
        }
    }

    fn contact(&mut self, at: usize) {
        let interval = self.boards[at].interval;
        let next = self.random.between(interval * 9 / 10, interval * 11 / 10);
        if self.boards[at].is_alive {
            self.plan(next, Step::Contact(at));
        }
        if self.boards[at].is_alive && self.has_network && self.has_power {
            self.speak(at);
        }
    }

    fn speak(&mut self, at: usize) {
        self.heard[at] = self.now;
        let runs = self.runs(at);
        let board = &mut self.boards[at];
        let mut what = Vec::new();
        let has_booted = std::mem::take(&mut board.has_booted);
        if has_booted && board.client.tells_boots {
            what.push(What::Booted);
            let recent = board.boots.iter().filter(|boot| self.now - **boot < 600);
            if recent.count() >= 3 {
                what.push(What::Loops);
            }
        }
        if board.client.tells_build {
            what.push(runs);
        }
        what.push(What::Heard);
        let mut is_urgent = has_booted || board.runs == Runs::Target;
        if std::mem::take(&mut board.dump) {
            let dump = format!("d{}-{}", at, self.now);
            what.push(What::DumpCame { dump: dump.clone() });
            let seconds = self.random.between(2, 120);
            self.plan(seconds, Step::Judge(at, dump));
            is_urgent = true;
        }
        let board = &self.boards[at];
        if board.can_ask && board.download.is_none() {
            what.push(What::Asked);
        }
        // what repeats itself can wait for the next look
        let member = self.gateway.rollout.member(&board.key);
        let is_same = member.is_some_and(|member| member.state == MemberState::Held);
        match is_same && !is_urgent {
            true => {
                let device = &board.key;
                let events = what.into_iter().map(|what| Event {
                    device: device.clone(),
                    what,
                });
                self.later.extend(events);
            }
            false => self.tell(at, what),
        }
        let board = &self.boards[at];
        if board.can_ask && board.download.is_none() {
            self.ask(at);
        }
    }

    fn offered(&mut self, at: usize) -> Option<Runs> {
        let gets = self.gateway.serves(&self.boards[at], self.now);
        let board = &self.boards[at];
        let build = match gets {
            Gets::Target => Runs::Target,
            Gets::Base => Runs::Base,
            Gets::Nothing => return None,
        };
        let is_new = board.runs != build && board.staged != Some(build);
        (is_new && board.failed != Some(build)).then_some(build)
    }

    fn ask(&mut self, at: usize) {
        let Some(build) = self.offered(at) else {
            return;
        };
        if !self.boards[at].client.asks_version {
            return self.fetch(at);
        }
        if build == Runs::Target {
            self.tell(at, vec![What::Answered]);
        }
        let seconds = self.random.between(1, 300);
        self.plan(seconds, Step::Fetch(at, self.boards[at].life));
    }

    fn fetch(&mut self, at: usize) {
        if !self.has_network || self.boards[at].download.is_some() {
            return;
        }
        let Some(build) = self.offered(at) else {
            return;
        };
        let breaks = self.random.percent(self.boards[at].breaks);
        let breaks = breaks.then(|| self.random.between(70_000, 1_000_000));
        let board = &mut self.boards[at];
        board.download = Some(Download { build, breaks });
        let (life, seconds, key) = (board.life, board.seconds, board.key.clone());
        if build == Runs::Target {
            self.tell(at, vec![What::Began]);
            self.gateway.downloads(&key, true);
            self.plan(60, Step::Progress(at, life));
        }
        self.plan(seconds, Step::DownloadEnds(at, life));
    }

    fn download_ends(&mut self, at: usize) {
        let Some(download) = self.boards[at].download.take() else {
            return;
        };
        let key = self.boards[at].key.clone();
        if download.build == Runs::Target {
            self.gateway.downloads(&key, false);
            match download.breaks {
                Some(offset) => return self.tell(at, vec![What::BrokeOff { offset }]),
                None => {
                    // what it did before was not the target's doing
                    self.boards[at].boots.clear();
                    self.tell(at, vec![What::Delivered]);
                }
            }
            if self.noticed().is_none() && !self.reached.contains(&at) {
                self.reached.push(at);
            }
        }
        let seconds = self.boards[at].until_boot(self.now, &mut self.random);
        let board = &mut self.boards[at];
        board.staged = Some(download.build);
        let life = board.life;
        self.plan(seconds, Step::Boot(at, life));
    }

    fn boot(&mut self, at: usize) {
        let board = &mut self.boards[at];
        board.life += 1;
        board.download = None;
        board.has_booted = true;
        board.boots.push(self.now);
        if let Some(staged) = board.staged.take() {
            board.runs = staged;
        }
        let (life, fault) = (board.life, board.fault);
        if board.runs == Runs::Target {
            match fault {
                Fault::AtBoot | Fault::RolledBack => {
                    board.dump = fault == Fault::AtBoot;
                    board.runs = Runs::Base;
                    board.failed = Some(Runs::Target);
                }
                Fault::Loops => self.plan(40, Step::Crash(at, life)),
                Fault::After(seconds) => self.plan(seconds, Step::Crash(at, life)),
                Fault::OneOfTen => self.plan(600, Step::Crash(at, life)),
                Fault::Vanishes => board.is_alive = false,
                Fault::Hangs(seconds) => self.plan(seconds, Step::Hang(at, life)),
                Fault::CannotAsk => board.can_ask = false,
                Fault::None => {}
            }
        }
        if self.boards[at].is_alive && self.has_network {
            let seconds = self.random.between(5, 15);
            self.plan(seconds, Step::FirstWords(at, self.boards[at].life));
        }
    }
}

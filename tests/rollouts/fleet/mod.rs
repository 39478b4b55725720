//! A simulated site: boards, a network, a gateway with a rollout. All that happens follows
//! from a seed.

pub(crate) mod board;
pub(crate) mod gateway;
pub(crate) mod random;
mod steps;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use espgate::rollouts::by_person::Command;
use espgate::rollouts::evaluate::{Action, Event, Facts, Rates, What};

use board::{Board, Runs};
use gateway::Gateway;
use random::Random;

/// Something that is due.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Step {
    /// A board speaks.
    Contact(usize),
    /// A board speaks after a boot.
    FirstWords(usize, u64),
    /// A board fetches what `firmware-version` told it of.
    Fetch(usize, u64),
    Progress(usize, u64),
    DownloadEnds(usize, u64),
    Boot(usize, u64),
    Crash(usize, u64),
    Hang(usize, u64),
    /// The decoder is done with a dump.
    Judge(usize, String),
    Look,
    /// The network is gone, and comes back.
    Network(bool),
    /// All power is gone, and comes back.
    Power(bool),
    /// The daemon is killed and started again.
    Restart,
    /// The wall clock jumps.
    Clock,
    Pin(usize, bool),
    Retire(usize, bool),
    Person(usize),
}

pub(crate) const HOUR: u64 = 3600;
pub(crate) const DAY: u64 = 24 * HOUR;

pub(crate) struct Site {
    pub(crate) boards: Vec<Board>,
    pub(crate) gateway: Gateway,
    pub(crate) now: u64,
    random: Random,
    queue: BinaryHeap<Reverse<(u64, u64, Step)>>,
    planned: u64,
    has_network: bool,
    has_power: bool,
    off_since: u64,
    heard: Vec<u64>,
    dumps: u64,
    /// Seconds between two looks of the gateway.
    look: u64,
    pub(crate) commands: Vec<Command>,
    /// Boards that got the whole target before the first pause or stop.
    pub(crate) reached: Vec<usize>,
    /// Contacts that change nothing, told at the next look.
    later: Vec<Event>,
}

impl Site {
    pub(crate) fn new(boards: Vec<Board>, gateway: Gateway, seed: u64, look: u64) -> Self {
        let mut site = Self {
            heard: vec![0; boards.len()],
            boards,
            gateway,
            now: 0,
            random: Random::new(seed),
            queue: BinaryHeap::new(),
            planned: 0,
            has_network: true,
            has_power: true,
            off_since: 0,
            dumps: 0,
            look,
            commands: Vec::new(),
            reached: Vec::new(),
            later: Vec::new(),
        };
        for at in 0..site.boards.len() {
            let first = site.random.between(0, site.boards[at].interval);
            site.plan(first, Step::Contact(at));
        }
        site.plan(0, Step::Look);
        site
    }

    /// Something happens in so many seconds.
    pub(crate) fn plan(&mut self, seconds: u64, step: Step) {
        self.planned += 1;
        let due = self.now + seconds;
        self.queue.push(Reverse((due, self.planned, step)));
    }

    /// Runs until the end of the rollout, or for so long, or until it is over for `is_over`.
    pub(crate) fn run(&mut self, longest: u64, is_over: impl Fn(&Self) -> bool) {
        while let Some(Reverse((due, _, step))) = self.queue.pop() {
            if due > longest || is_over(self) {
                return;
            }
            self.now = due;
            self.step(step);
        }
    }

    /// Boards that run the target.
    pub(crate) fn on_target(&self) -> usize {
        let boards = self.boards.iter();
        boards.filter(|board| board.runs == Runs::Target).count()
    }

    fn tell(&mut self, at: usize, what: Vec<What>) {
        let device = &self.boards[at].key;
        let events: Vec<Event> = what
            .into_iter()
            .map(|what| Event {
                device: device.clone(),
                what,
            })
            .collect();
        self.tell_all(&events, &Facts::default());
    }

    fn tell_all(&mut self, events: &[Event], facts: &Facts) {
        let was_stopped = self.gateway.is_stopped();
        self.gateway.tell_with(events, facts, self.now);
        if self.gateway.is_stopped() && !was_stopped {
            self.cut();
        }
    }

    /// After a stop no further byte of the target is sent.
    fn cut(&mut self) {
        self.gateway.forget_downloads();
        let mut events = Vec::new();
        for board in &mut self.boards {
            if board
                .download
                .take_if(|one| one.build == Runs::Target)
                .is_some()
            {
                events.push(Event {
                    device: board.key.clone(),
                    what: What::BrokeOff { offset: 500_000 },
                });
                board.life += 1;
            }
        }
        self.gateway.tell(&events, self.now);
    }

    fn facts(&self) -> Facts {
        let rollout = &self.gateway.rollout;
        let wave = rollout.latest_wave();
        let within = rollout.spec.return_within;
        let mut facts = Facts {
            rates: Some(Rates::default()),
            others_known: true,
            ..Facts::default()
        };
        for (at, board) in self.boards.iter().enumerate() {
            let is_other = board.interval <= within && board.is_regular;
            if is_other && !wave.iter().any(|member| member.device == board.key) {
                facts.others_expected += 1;
                let is_missed = self.now - self.heard[at] > within;
                facts.others_missed += u32::from(is_missed);
            }
        }
        facts
    }

    /// When the rollout was first paused or stopped.
    pub(crate) fn noticed(&self) -> Option<u64> {
        let is = |action: &Action| matches!(action, Action::Paused { .. } | Action::Stopped { .. });
        self.gateway.first(is)
    }
}

//! What the evaluator is told.

use crate::device::DeviceKey;

/// Something that happened to a device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    pub device: DeviceKey,
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    /// A request of it, or bytes on its console.
    Heard,
    /// It asked for firmware, or for its version.
    Asked,
    /// It was told that it gets the target.
    Answered,
    /// The target is sent to it from now on.
    Began,
    /// A download of the target went on.
    Progress,
    /// A download of the target broke off after so many bytes of the image.
    BrokeOff {
        offset: u64,
    },
    /// All of the target was delivered.
    Delivered,
    /// All of the base was delivered.
    TookBase,
    /// The daemon ended while it downloaded: all of it may have arrived.
    Interrupted,
    /// It runs the target, by this evidence.
    RunsTarget {
        evidence: String,
    },
    /// It runs the base, or what else it had before the target.
    RunsOther {
        build: String,
        evidence: String,
    },
    /// The upload of a dump named such a build, which may be that of the dump only.
    NamesOther {
        build: String,
        evidence: String,
    },
    /// It runs a build that it did not have before the target.
    RunsUnknown {
        build: String,
        is_stored: bool,
        evidence: String,
    },
    /// It has the target's image already.
    HasIt {
        evidence: String,
    },
    /// It booted since it was heard last. Comes before what the same request or banner says
    /// of the build.
    Booted,
    /// It boots again and again since it has the target.
    Loops,
    /// A dump of the target came that is not decoded yet.
    DumpCame {
        dump: String,
    },
    /// A dump of the target is judged.
    Crashed {
        dump: String,
        sequence: u64,
        crash: Crash,
    },
    /// Dumps up to this one are none of the target.
    Judged {
        sequence: u64,
    },
    /// The target does not fit.
    Incompatible {
        why: String,
    },
    Pinned(bool),
    Retired(bool),
    /// It is known by a fleet token alone now.
    LosesVote,
    /// Its usual time between contacts, seconds.
    Usual(Option<u64>),
}

/// What a crash of the target is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Crash {
    /// A bug that no other build had, or one that was resolved.
    New {
        group: String,
        signature: String,
    },
    /// It looks new, but that is not sure; why.
    Unsure {
        group: Option<String>,
        why: String,
    },
    Known {
        group: String,
    },
}

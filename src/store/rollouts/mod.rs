//! Rollouts on disk: one file each.

mod record;

pub use record::{
    Failure, LogEntry, Member, MemberState, NamedBuild, OnStop, Pause, Phase, Rollout, Rule,
    SCHEMA, Spec, Waiting, Wave, Window,
};

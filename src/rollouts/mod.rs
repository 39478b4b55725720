//! Rollouts: a build goes out in waves, and is taken back by itself. What is decided is
//! decided without a clock or a disk ([`evaluate`]).

pub mod by_person;
mod engine;
pub mod evaluate;
pub mod order;
pub mod poisson;
mod running_downloads;
mod running_uploads;
mod sentence;
pub mod serve;
pub mod spec;
mod view;

pub use engine::{Ask, Automatic, Error, Plan, Refusal, Request, Rollouts};
pub use running_downloads::RunningDownloads;
pub use running_uploads::{RunningUpload, RunningUploads};

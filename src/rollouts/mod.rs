//! Rollouts: a build goes out in waves, and is taken back by itself. What is decided is
//! decided without a clock or a disk ([`evaluate`]).

pub mod by_person;
pub mod evaluate;
pub mod order;
pub mod poisson;
pub mod serve;
pub mod spec;

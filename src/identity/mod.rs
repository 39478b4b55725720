//! Who is asking, and what that allows: decisions over the registers, without
//! any I/O.

mod caller;
mod need;

pub use caller::{Caller, Refused, identify, presented_id};
pub use need::{Denied, Need, check};

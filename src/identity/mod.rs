//! Who is asking, and what that allows: decisions over the registers, without
//! any I/O.

mod bearer;
mod required_role;

pub use bearer::{AuthError, Caller, identify, presented_id};
pub use required_role::{Denied, RequiredRole, check};

//! Authentication and authorization: decisions over the registers, without I/O.

mod bearer;
mod required_role;

pub use bearer::{AuthError, Caller, identify, presented_id, presented_user};
pub use required_role::{Denied, RequiredRole, check};

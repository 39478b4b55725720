//! HTTPS and the control socket: connections, certificates, requests.

pub mod server;
pub mod tls;

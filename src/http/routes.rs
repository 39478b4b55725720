//! All routes, each with the role it requires. Everything that is served is in
//! this table; tests check each entry.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, on};
use http::Method;

use super::app_state::AppState;
use super::error::Error;
use super::registry::{devices, import, models, tokens};
use super::{
    authorization, backup, builds, certificates, coredump_intake, coredumps, crashes, export,
    firmware, gateway_status, ports, rollouts,
};
use crate::identity::RequiredRole;

/// One route.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub need: RequiredRole,
    handler: MethodRouter<Arc<AppState>>,
}

fn route<H, T>(method: Method, path: &'static str, need: RequiredRole, handler: H) -> Route
where
    H: axum::handler::Handler<T, Arc<AppState>>,
    T: 'static,
{
    let filter = match method {
        Method::POST => axum::routing::MethodFilter::POST,
        Method::PUT => axum::routing::MethodFilter::PUT,
        Method::DELETE => axum::routing::MethodFilter::DELETE,
        _ => axum::routing::MethodFilter::GET,
    };
    Route {
        method,
        path,
        need,
        handler: on(filter, handler),
    }
}

/// The table.
#[rustfmt::skip]
pub fn routes() -> Vec<Route> {
    use RequiredRole::{Device, Pipeline, Public, Root, Technician, Viewer};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    const DELETE: Method = Method::DELETE;
    vec![
        route(POST, "/api/iot/coredump", Device, coredump_intake::receive),
        route(GET, "/api/iot/firmware", Device, firmware::device::image),
        route(GET, "/api/iot/firmware.zip", Device, firmware::device::bundle),
        route(GET, "/api/iot/firmware-version", Device, firmware::offered::version),
        route(GET, "/api/iot/manifest.json", Device, firmware::manifest::manifest),
        route(GET, "/api/iot/config", Device, firmware::config::config),

        route(POST, "/api/pipeline/models/{code}/firmware", Pipeline, firmware::upload::receive),
        route(GET, "/api/pipeline/models/{code}/firmware-version", Pipeline, firmware::manage::version),
        route(GET, "/api/pipeline/upload.sh", Public, firmware::manage::upload_sh),
        route(GET, "/api/pipeline/upload.ps1", Public, firmware::manage::upload_ps1),

        route(GET, "/api/coredumps", Viewer, coredumps::list),
        route(GET, "/api/coredumps/{id}", Viewer, coredumps::show),
        route(GET, "/api/coredumps/{id}/report", Viewer, coredumps::report),
        route(GET, "/api/coredumps/{id}/signature", Viewer, crashes::explain),
        route(GET, "/api/coredumps/{id}/dump", Technician, coredumps::dump),
        route(GET, "/api/coredumps/{id}/log", Technician, coredumps::log),
        route(GET, "/api/coredumps/{id}/export", Technician, export::export),
        route(DELETE, "/api/coredumps/{id}", Technician, coredumps::delete),
        route(POST, "/api/coredumps/{id}/redecode", Technician, coredumps::redecode),
        route(POST, "/api/coredumps/redecode", Technician, coredumps::redecode_all),

        route(GET, "/api/crashes", Viewer, crashes::list),
        route(GET, "/api/crashes/{id}", Viewer, crashes::show),
        route(PUT, "/api/crashes/{id}", Technician, crashes::put),
        route(POST, "/api/crashes/recompute", Technician, crashes::recompute),
        route(POST, "/api/crashes/{id}/merge", Technician, crashes::merge),
        route(POST, "/api/crashes/{id}/split", Technician, crashes::split),

        route(GET, "/api/builds", Viewer, builds::list),
        route(GET, "/api/builds/{build_id}", Viewer, builds::show),

        route(GET, "/api/rollouts", Viewer, rollouts::list),
        route(POST, "/api/rollouts", Technician, rollouts::start),
        route(GET, "/api/rollouts/{id}", Viewer, rollouts::show),
        route(POST, "/api/rollouts/{id}/{command}", Technician, rollouts::command),

        route(GET, "/api/models/{code}/firmware", Viewer, firmware::manage::list),
        route(PUT, "/api/models/{code}/active", Technician, firmware::manage::activate),
        route(POST, "/api/models/{code}/rollback", Technician, firmware::manage::rollback),
        route(PUT, "/api/models/{code}/blocked/{version}", Technician, firmware::manage::block),
        route(DELETE, "/api/models/{code}/blocked/{version}", Technician, firmware::manage::unblock),
        route(GET, "/api/models/{code}/firmware/{version}", Technician, firmware::manage::export),
        route(DELETE, "/api/models/{code}/firmware", Technician, firmware::manage::delete_all),
        route(DELETE, "/api/models/{code}/firmware/{version}", Technician, firmware::manage::delete),

        route(GET, "/api/models", Viewer, models::list),
        route(GET, "/api/models/{code}", Viewer, models::show),
        route(PUT, "/api/models/{code}", Technician, models::put),
        route(GET, "/api/devices", Viewer, devices::list),
        route(POST, "/api/devices", Root, tokens::register),
        // not below `devices`, where it would be in the way of a device with this key
        route(POST, "/api/import/devices", Technician, import::devices),
        route(GET, "/api/devices/{key}", Viewer, devices::show),
        route(PUT, "/api/devices/{key}", Technician, devices::put),
        route(DELETE, "/api/devices/{key}", Technician, devices::remove),
        route(PUT, "/api/devices/{key}/pin", Technician, devices::pin),
        route(DELETE, "/api/devices/{key}/pin", Technician, devices::unpin),
        route(POST, "/api/devices/{key}/token", Root, tokens::mint_for_device),
        route(DELETE, "/api/devices/{key}/tokens", Technician, tokens::revoke_device),
        route(GET, "/api/tokens", Technician, tokens::list),
        route(POST, "/api/tokens", Root, tokens::mint),
        route(DELETE, "/api/tokens/{name}", Technician, tokens::revoke),
        route(GET, "/api/backup", Root, backup::backup),

        route(GET, "/api/ports", Viewer, ports::list),
        route(POST, "/api/ports/{name}/read", Technician, ports::read),
        route(GET, "/api/ports/{name}/reading", Viewer, ports::reading),
        route(GET, "/api/ports/{name}/log", Technician, ports::log),
        route(POST, "/api/ports/{name}/claim", Technician, ports::claim),
        route(POST, "/api/ports/{name}/release", Technician, ports::release),
        route(POST, "/api/ports/{name}/lease", Technician, ports::lease),

        route(GET, "/api/tls", Viewer, certificates::show),
        route(GET, "/api/tls/csr", Root, certificates::csr),
        route(POST, "/api/tls/install", Root, certificates::install),
        route(POST, "/api/tls/renew", Root, certificates::renew),

        route(GET, "/healthz", Public, gateway_status::healthz),
        route(GET, "/readyz", Public, gateway_status::readyz),
        route(GET, "/metrics", Public, gateway_status::metrics),
        route(GET, "/api/version", Viewer, gateway_status::version),
        route(GET, "/api/status", Viewer, gateway_status::status),
    ]
}

/// The router with all routes.
pub fn router(app: Arc<AppState>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let guard = from_fn_with_state((Arc::clone(&app), route.need), authorization::guard);
        router = router.route(route.path, route.handler.layer(guard));
    }
    router
        .fallback(|| async { Error::NoSuchRoute })
        .method_not_allowed_fallback(|| async { Error::MethodNotAllowed })
        .with_state(app)
}

//! All routes, each with what it needs its caller to be. Everything that is
//! served is in this table; tests walk it.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, on};
use http::Method;

use super::app::App;
use super::error::Error;
use super::registers::{devices, models, tokens};
use super::{auth, coredump_intake, coredumps, firmware, system};
use crate::identity::Need;

/// One route.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub need: Need,
    handler: MethodRouter<Arc<App>>,
}

fn route<H, T>(method: Method, path: &'static str, need: Need, handler: H) -> Route
where
    H: axum::handler::Handler<T, Arc<App>>,
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
pub fn routes() -> Vec<Route> {
    let mut routes = vec![
        route(
            Method::POST,
            "/api/iot/coredump",
            Need::Device,
            coredump_intake::receive,
        ),
        route(Method::GET, "/api/coredumps", Need::Viewer, coredumps::list),
        route(
            Method::GET,
            "/api/coredumps/{id}",
            Need::Viewer,
            coredumps::show,
        ),
        route(
            Method::GET,
            "/api/coredumps/{id}/report",
            Need::Viewer,
            coredumps::report,
        ),
        route(
            Method::GET,
            "/api/coredumps/{id}/dump",
            Need::Technician,
            coredumps::dump,
        ),
        route(
            Method::GET,
            "/api/coredumps/{id}/log",
            Need::Technician,
            coredumps::log,
        ),
        route(
            Method::DELETE,
            "/api/coredumps/{id}",
            Need::Technician,
            coredumps::delete,
        ),
        route(
            Method::GET,
            "/api/iot/firmware",
            Need::Device,
            firmware::device::image,
        ),
        route(
            Method::GET,
            "/api/iot/firmware.zip",
            Need::Device,
            firmware::device::bundle,
        ),
        route(
            Method::GET,
            "/api/iot/firmware-version",
            Need::Device,
            firmware::device::version,
        ),
        route(
            Method::GET,
            "/api/iot/config",
            Need::Device,
            firmware::device::config,
        ),
        route(
            Method::POST,
            "/api/pipeline/models/{code}/firmware",
            Need::Pipeline,
            firmware::upload::receive,
        ),
        route(
            Method::GET,
            "/api/pipeline/models/{code}/firmware-version",
            Need::Pipeline,
            firmware::manage::version,
        ),
        route(
            Method::GET,
            "/api/pipeline/upload.sh",
            Need::Public,
            firmware::manage::upload_sh,
        ),
        route(
            Method::GET,
            "/api/pipeline/upload.ps1",
            Need::Public,
            firmware::manage::upload_ps1,
        ),
        route(
            Method::GET,
            "/api/models/{code}/firmware",
            Need::Viewer,
            firmware::manage::list,
        ),
        route(
            Method::PUT,
            "/api/models/{code}/active",
            Need::Technician,
            firmware::manage::activate,
        ),
        route(
            Method::POST,
            "/api/models/{code}/rollback",
            Need::Technician,
            firmware::manage::rollback,
        ),
        route(
            Method::PUT,
            "/api/models/{code}/blocked/{version}",
            Need::Technician,
            firmware::manage::block,
        ),
        route(
            Method::DELETE,
            "/api/models/{code}/blocked/{version}",
            Need::Technician,
            firmware::manage::unblock,
        ),
        route(
            Method::GET,
            "/api/models/{code}/firmware/{version}",
            Need::Technician,
            firmware::manage::export,
        ),
        route(
            Method::DELETE,
            "/api/models/{code}/firmware/{version}",
            Need::Technician,
            firmware::manage::delete,
        ),
        route(Method::GET, "/healthz", Need::Public, system::healthz),
        route(Method::GET, "/readyz", Need::Public, system::readyz),
        route(Method::GET, "/metrics", Need::Public, system::metrics),
        route(Method::GET, "/api/version", Need::Viewer, system::version),
        route(Method::GET, "/api/status", Need::Viewer, system::status),
    ];
    routes.extend(administration());
    routes
}

/// What is registered, and moving all of it to another machine.
fn administration() -> Vec<Route> {
    use Method as M;
    use Need::{Root, Technician, Viewer};
    vec![
        route(M::GET, "/api/models", Viewer, models::list),
        route(M::GET, "/api/models/{code}", Viewer, models::show),
        route(M::PUT, "/api/models/{code}", Technician, models::put),
        route(M::GET, "/api/devices", Viewer, devices::list),
        route(M::POST, "/api/devices", Root, tokens::register),
        route(M::GET, "/api/devices/{key}", Viewer, devices::show),
        route(M::PUT, "/api/devices/{key}", Technician, devices::put),
        route(M::DELETE, "/api/devices/{key}", Technician, devices::remove),
        route(M::PUT, "/api/devices/{key}/pin", Technician, devices::pin),
        route(M::DELETE, "/api/devices/{key}/pin", Technician, devices::unpin),
        route(M::POST, "/api/devices/{key}/token", Root, tokens::mint_for_device),
        route(M::DELETE, "/api/devices/{key}/tokens", Technician, tokens::revoke_device),
        route(M::GET, "/api/tokens", Technician, tokens::list),
        route(M::POST, "/api/tokens", Root, tokens::mint),
        route(M::DELETE, "/api/tokens/{name}", Technician, tokens::revoke),
    ]
}

/// The service that answers all of them.
pub fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let guard = from_fn_with_state((Arc::clone(&app), route.need), auth::guard);
        router = router.route(route.path, route.handler.layer(guard));
    }
    router
        .fallback(|| async { Error::NoSuchRoute })
        .method_not_allowed_fallback(|| async { Error::MethodNotAllowed })
        .with_state(app)
}

//! All routes, each with what it needs its caller to be. Everything that is
//! served is in this table; tests walk it.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, on};
use http::Method;

use super::app::App;
use super::error::Error;
use super::{auth, coredump_intake, coredumps, system};
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
        route(Method::GET, "/healthz", Need::Public, system::healthz),
        route(Method::GET, "/readyz", Need::Public, system::readyz),
        route(Method::GET, "/metrics", Need::Public, system::metrics),
        route(Method::GET, "/api/version", Need::Viewer, system::version),
        route(Method::GET, "/api/status", Need::Viewer, system::status),
    ];
    routes.extend(Vec::new());
    routes
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

//! The routes in the kernel.

mod nexthops;
mod routes;
mod said;

pub(crate) use self::routes::Routes;
pub use self::routes::remove_routes;

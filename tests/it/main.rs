//! A real gateway between a scripted upstream and raw clients.

mod admin_keys;
mod attacks;
mod bodies;
mod cors;
mod counting;
mod draining;
mod failing;
mod floods;
mod forms;
mod framing;
mod h2_probes;
mod headers;
mod hops;
mod limits;
mod logs;
mod memory;
mod metrics;
mod passing;
mod paths;
mod reloading;
mod routes;
mod sockets;
mod support;
mod tls;
mod upstreams;
mod usage;

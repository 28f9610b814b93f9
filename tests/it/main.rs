//! A real gateway between a scripted upstream and raw clients.

mod bodies;
mod failing;
mod forms;
mod framing;
mod h2_probes;
mod headers;
mod memory;
mod passing;
mod paths;
mod routes;
mod support;

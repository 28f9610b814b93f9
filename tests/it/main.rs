//! A real gateway between a scripted upstream and raw clients.

mod draining;
mod failing;
mod framing;
mod h2_probes;
mod headers;
mod memory;
mod passing;
mod sockets;
mod support;
mod tls;
mod upstreams;

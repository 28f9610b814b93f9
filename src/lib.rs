//! Tidegate: a gateway in front of an inference API.
//!
//! Two folders of verbs tell the two stories: [`proxy`] is a call, [`webhook`] is a job.
//! Every other folder is a noun that owns one kind of state. Ground types lie at the bottom, and [`app`]
//! alone knows everything.
//!
//! A module may name those that stand before it here, and none that stand after it (`tests/tidy.rs` checks):
//!
//! | layer | modules |
//! | --- | --- |
//! | ground | [`types`] |
//! | tools | [`config`], [`metrics`], [`body`], [`stall`], [`bell`] |
//! | nouns | [`token`], [`limit`], [`spend`], [`dialect`] |
//! | what waits | [`queue`] |
//! | the outside | [`upstream`], [`store`] |
//! | a call | [`proxy`] |
//! | a job | [`webhook`] |
//! | operators | [`admin`] |
//! | sockets | [`server`] |
//! | the whole | [`app`] |
//! | the command line | [`cli`] |
//!
//! [`simulate`] stands aside: a simulated upstream that uses [`types`] and [`body`] only.

#![deny(
    missing_docs,
    clippy::await_holding_invalid_type,
    clippy::await_holding_lock,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::let_underscore_must_use,
    clippy::mem_forget,
    clippy::missing_errors_doc,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

pub mod types;

pub mod bell;
pub mod body;
pub mod config;
pub mod metrics;
pub mod stall;

pub mod dialect;
pub mod limit;
pub mod spend;
pub mod token;

pub mod queue;

pub mod store;
pub mod upstream;

pub mod proxy;

pub mod webhook;

pub mod admin;

pub mod server;

pub mod app;

pub mod cli;

pub mod simulate;

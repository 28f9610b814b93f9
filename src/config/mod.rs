//! Every setting with its type, default and unit.
//!
//! The annotated reference is `config/tidegate.toml`.

mod settings;

pub use settings::{
    Account, AccountKey, Admin, Config, Cors, Models, Pem, Protocol, Server, Tls, Upstream, UpstreamRoute,
};

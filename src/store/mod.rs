//! Where everything lies that must last: SQLite and files beside it, with secrets and contents sealed by a master key.
//!
//! The rest of the program knows the traits only, such as [`KeyStore`](crate::token::KeyStore); [`app`](crate::app)
//! picks what stands behind them.

mod folder;
mod master_key;
mod reserve;
mod seal;
mod sqlite;
mod stash;

pub use master_key::{MasterKeyFileError, master_key_file};
pub use seal::{MasterKeyError, MasterKeys};
pub use sqlite::{OpenError, Sqlite};

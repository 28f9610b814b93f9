//! How much money: what a call may cost, what is set aside for it, and what it has cost.
//!
//! A *purse* is an amount that must not be passed: the limit in a token, or a cap of the settings over a day, a month or
//! all time. Before a capped call is sent its *ceiling*, the most that it can cost, is *held* in every purse that it
//! pays from, in one durable step: all that is spent and all that is held is never more than the limit. When it has
//! ended the hold is *settled*: it goes, and what the call has cost is spent.

mod community;
mod fields;
mod ledger;
mod listed;
pub mod price;
mod prices;

pub use community::TableError;
pub use fields::EntryError;
pub use ledger::{
    Balance, By, Closed, Denial, Entry, Group, Held, HoldError, HoldOrder, Ledger, LedgerError, Metered,
    Purse, Recovered, Report, ReportRow, Settlement, Share, Span, UsageRow,
};
pub use price::{Charge, Pictures, Price, Tiers, TokenRates};
pub use prices::{PriceTable, Prices};

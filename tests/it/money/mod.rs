//! Money over the wire: limits hold, dodges cost what they should, and three books agree to the nano-dollar: the
//! ledger's, the metric and the upstream's own.

pub mod bank;
mod cuts;
mod dodges;
mod race;
mod refusals;
mod reports;

//! What can be measured, one file for each command.

pub mod economy;
pub mod gateway;
pub mod growth;
pub mod islands;
pub mod jobs;
pub mod ledger;
pub mod market;

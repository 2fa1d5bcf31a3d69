//! What can be measured, one file for each command.

pub mod jobs;

//! What to run, and what must come out.
//!
//! - [`bug_bench`] how many runs it takes until a planted bug is found
//! - [`failure`] saved runs with the verdict that they showed
//! - [`merge`](mod@merge) several reports of one suite into the report that one run gives
//! - [`model`] the guarantee model: what a configuration promises under a fault family
//! - [`plans`] canonical plans: one for each mechanism that the model names
//! - [`properties`] Java `.properties` text, and what is to be said of it
//! - [`report`] the outcome of a campaign, field by field as in `report.json`
//! - [`runner`] cells and seeds on threads, and what they add up to
//! - [`shrink`] the smallest run that still fails in the same way
//! - [`suite`] suites: rows, matrices, cells, and an operator's own configuration as one

pub mod bug_bench;
pub mod failure;
pub mod merge;
pub mod model;
pub mod plans;
pub mod properties;
pub mod report;
pub mod runner;
pub mod shrink;
pub mod suite;

//! What to run, and what must come out.
//!
//! - [`properties`] Java `.properties` text, and what is to be said of it
//! - [`report`] the outcome of a campaign, field by field as in `report.json`

pub mod properties;
pub mod report;

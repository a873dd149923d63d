//! What to run, and what must come out.
//!
//! - [`report`] the outcome of a campaign, field by field as in `report.json`

pub mod report;

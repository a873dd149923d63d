//! What to run, and what must come out.
//!
//! - [`model`] the guarantee model: what a configuration promises under a fault family
//! - [`report`] the outcome of a campaign, field by field as in `report.json`

pub mod model;
pub mod report;

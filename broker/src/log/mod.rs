//! The partition log.

pub mod batch;
pub mod record;

//! Checkers: what must hold of a run, one property a file.
//!
//! - [`min_isr`] an invariant over facts: nothing is promised below `min.insync.replicas`
//! - [`verdict`] what became of each acknowledged message

pub mod min_isr;
pub mod verdict;

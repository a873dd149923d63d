//! Checkers: what must hold of a run, one property a file.
//!
//! - [`min_isr`] an invariant over facts: nothing is promised below `min.insync.replicas`
//! - [`order`] an invariant over appends: one request in flight keeps the order
//! - [`verdict`] what became of each acknowledged message

pub mod min_isr;
pub mod order;
pub mod verdict;

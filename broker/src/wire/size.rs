//! Encoded sizes by formula.

//! The real world around a broker: what the simulation does in `everyack-sim`, on a machine.
//!
//! - [`disk`] files below one folder, with real syncs
//! - [`wire`] what clients from outside speak, at all its versions

pub mod disk;
pub mod wire;

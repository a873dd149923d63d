//! The controller: registration and fencing of brokers, elections, ISR changes, leader moves.

mod admin;

pub use admin::*;

//! The ways to lose a message: KAFKA's loss mechanisms by name.

use serde::{Deserialize, Serialize};

/// A loss mechanism. The letter says where: P producer, R replication, S storage, C consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // each carries its name and sentence below
pub enum Mechanism {
    P01,
    P02,
    P03,
    P04,
    P05,
    P06,
    P08,
    P19,
    P20,
    P21,
    R01,
    R02,
    R03,
    R04,
    R05,
    S01,
    S02,
    C02,
    C04,
    C05,
    C12,
    C14,
    C15,
    C18,
}

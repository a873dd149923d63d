//! Fault families: what a family does, and to whom.
//!
//! Not here yet: the families of rolling and shrunk-ISR outages, paused processes, disks, clocks,
//! several controllers, reassignment, rebalances and transactions.

use serde::{Deserialize, Serialize};

/// A fault family, named as on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Nothing goes wrong.
    None,
    /// The producers' connections to the leader fail.
    ConnectionLoss,
    /// The leader's process is killed.
    LeaderCrash,
    /// The leader's machine loses power.
    LeaderPowerLoss,
    /// All brokers' machines lose power at one instant.
    ClusterPowerLoss,
    /// The leader's links to the other brokers are cut.
    LeaderCutFromFollowers,
    /// The leader's links to the controllers are cut.
    LeaderCutFromController,
    /// The leadership is moved, as planned.
    LeaderMove,
    /// A producer application is killed.
    ProducerCrash,
    /// A consumer application is killed.
    ConsumerCrash,
    /// The group first starts after messages were produced.
    LateStart,
    /// A swarm of all of them.
    Random,
}

impl Family {
    /// Every family, in the order of the command line's list.
    pub const ALL: [Family; 12] = [
        Family::None,
        Family::ConnectionLoss,
        Family::LeaderCrash,
        Family::LeaderPowerLoss,
        Family::ClusterPowerLoss,
        Family::LeaderCutFromFollowers,
        Family::LeaderCutFromController,
        Family::LeaderMove,
        Family::ProducerCrash,
        Family::ConsumerCrash,
        Family::LateStart,
        Family::Random,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Family::None => "none",
            Family::ConnectionLoss => "connection-loss",
            Family::LeaderCrash => "leader-crash",
            Family::LeaderPowerLoss => "leader-power-loss",
            Family::ClusterPowerLoss => "cluster-power-loss",
            Family::LeaderCutFromFollowers => "leader-cut-from-followers",
            Family::LeaderCutFromController => "leader-cut-from-controller",
            Family::LeaderMove => "leader-move",
            Family::ProducerCrash => "producer-crash",
            Family::ConsumerCrash => "consumer-crash",
            Family::LateStart => "late-start",
            Family::Random => "random",
        }
    }

    /// The family of that name.
    pub fn from_name(name: &str) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.name() == name)
    }

    /// What happens, to whom, and in which state.
    pub fn describe(self) -> &'static str {
        match self {
            Family::None => "nothing goes wrong",
            Family::ConnectionLoss => {
                "requests in flight: the connections between producers and leader are reset, or silently cut and later reset, one to five times"
            }
            Family::LeaderCrash => "full ISR: the leader's process is killed and started again",
            Family::LeaderPowerLoss => {
                "full ISR: the leader's machine loses power, and what its disk had not synced, and comes back"
            }
            Family::ClusterPowerLoss => {
                "full ISR: all brokers' machines lose power at one instant and come back; controllers and clients stay up"
            }
            Family::LeaderCutFromFollowers => {
                "full ISR: the leader's links to the other brokers are cut, both ways or one"
            }
            Family::LeaderCutFromController => {
                "full ISR: the leader's links to the controllers are cut, both ways or one; followers and clients still reach it"
            }
            Family::LeaderMove => {
                "full ISR, no fault: one to six planned moves of the leadership under load"
            }
            Family::ProducerCrash => {
                "work in hand: a producer's process is killed and a new one starts"
            }
            Family::ConsumerCrash => {
                "work in hand: a consumer's process is killed and a new one starts"
            }
            Family::LateStart => {
                "a fresh group starts after messages were acknowledged, while producers go on"
            }
            Family::Random => {
                "a swarm: one to four faults from a drawn subset of the other families"
            }
        }
    }

    /// One fault hits one thing: what a sound configuration survives. `cluster-power-loss` hits all
    /// brokers at once, `random` hits several.
    pub fn is_single_fault(self) -> bool {
        !matches!(
            self,
            Family::None | Family::ClusterPowerLoss | Family::Random
        )
    }

    /// What a family could take at the instant at which it strikes.
    pub fn exposure(self) -> Exposure {
        match self {
            Family::None => Exposure::Always,
            Family::ConnectionLoss | Family::ProducerCrash => Exposure::SentUnanswered,
            Family::LeaderCrash
            | Family::LeaderCutFromFollowers
            | Family::LeaderCutFromController
            | Family::LeaderMove => Exposure::AppendedUnreplicated,
            Family::LeaderPowerLoss | Family::ClusterPowerLoss => Exposure::AppendedUnsynced,
            Family::ConsumerCrash => Exposure::DeliveredUncommitted,
            Family::LateStart => Exposure::AckedBeforeStart,
            Family::Random => Exposure::AnyOfItsFaults,
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a record must be, acknowledged or still in flight, when the fault strikes, for the run to
/// count as exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// Every run counts.
    Always,
    /// Sent and unanswered (with acks=0: sent and not yet appended).
    SentUnanswered,
    /// Appended by the leader and not yet on every replica; with one replica [`Self::SentUnanswered`].
    AppendedUnreplicated,
    /// Not yet synced on every replica.
    AppendedUnsynced,
    /// Delivered by a poll and not yet processed, or processed and not yet committed.
    DeliveredUncommitted,
    /// Acknowledged before the group started.
    AckedBeforeStart,
    /// What the family of one of the faults that struck says.
    AnyOfItsFaults,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_serde_writes_and_lead_back() {
        for family in Family::ALL {
            let written =
                serde::de::value::StrDeserializer::<serde::de::value::Error>::new(family.name());
            assert_eq!(Family::deserialize(written), Ok(family));
            assert_eq!(Family::from_name(family.name()), Some(family));
        }
        assert_eq!(Family::from_name("leader-crush"), None);
    }
}

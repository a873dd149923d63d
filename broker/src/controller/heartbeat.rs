//! Sessions of brokers, and what a heartbeat asks for and gets: `BrokerHeartbeatTracker` and
//! `BrokerHeartbeatManager` as of 4.0 (KAFKA-17793).
//!
//! This is soft state: it is in no record. A controller that starts gives every unfenced broker a
//! fresh session (KAFKA-18138, KAFKA-19130).

use super::image::MetadataImage;
use crate::ids::*;
use crate::time::Nanos;
use crate::wire::BrokerHeartbeatRequest;
use std::collections::BTreeMap;

/// `BrokerControlState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BrokerControlState {
    /// Fenced.
    Fenced,
    /// Unfenced.
    Unfenced,
    /// Moving its leaderships away.
    ControlledShutdown,
    /// It may stop.
    ShutdownNow,
}

impl BrokerControlState {
    /// Whether a broker in this state is fenced.
    pub fn fenced(self) -> bool {
        matches!(
            self,
            BrokerControlState::Fenced | BrokerControlState::ShutdownNow
        )
    }
}

#[derive(Debug, Clone, Copy)]
struct BrokerHeartbeatState {
    fenced: bool,
    /// What it said last that it has applied; -1 from a change of its registration to its next
    /// heartbeat.
    metadata_offset: Offset,
    /// Where its controlled shutdown completes, -1 while there is none.
    controlled_shutdown_offset: Offset,
}

impl BrokerHeartbeatState {
    fn shutting_down(&self) -> bool {
        self.controlled_shutdown_offset >= 0
    }
}

/// Sessions and control states of all brokers.
#[derive(Debug)]
pub(super) struct BrokerHeartbeatManager {
    session_timeout: Nanos,
    contact_times: BTreeMap<(BrokerId, BrokerEpoch), Nanos>,
    brokers: BTreeMap<BrokerId, BrokerHeartbeatState>,
}

impl BrokerHeartbeatManager {
    /// `ClusterControlManager.activate`.
    pub fn activate(session_timeout: Nanos, image: &MetadataImage, now: Nanos) -> Self {
        let mut manager = BrokerHeartbeatManager {
            session_timeout,
            contact_times: BTreeMap::new(),
            brokers: BTreeMap::new(),
        };
        for broker in image.brokers().values() {
            manager.register(broker.id, broker.fenced);
            if !broker.fenced {
                manager.contact_times.insert((broker.id, broker.epoch), now);
            }
        }
        manager
    }

    /// A heartbeat has arrived. It counts on arrival, however long it waits to be handled.
    pub fn update_contact_time(&mut self, id: BrokerId, epoch: BrokerEpoch, now: Nanos) {
        self.contact_times.insert((id, epoch), now);
    }

    fn is_expired(&self, contact: Nanos, now: Nanos) -> bool {
        now > contact.saturating_add(self.session_timeout)
    }

    /// Whether this incarnation was heard of within the session timeout, fenced or not.
    pub fn has_valid_session(&self, id: BrokerId, epoch: BrokerEpoch, now: Nanos) -> bool {
        self.contact_times
            .get(&(id, epoch))
            .is_some_and(|contact| !self.is_expired(*contact, now))
    }

    /// Takes one expired session out. The lowest id comes first, where Kafka takes any.
    pub fn remove_expired(&mut self, now: Nanos) -> Option<(BrokerId, BrokerEpoch)> {
        let expired = self
            .contact_times
            .iter()
            .find(|(_, contact)| self.is_expired(**contact, now))
            .map(|(key, _)| *key)?;
        self.contact_times.remove(&expired);
        Some(expired)
    }

    /// The broker's session has ended.
    pub fn fence(&mut self, id: BrokerId) {
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.fenced = true;
        }
    }

    /// Forgets a broker's control state, as a new incarnation registers.
    pub fn remove(&mut self, id: BrokerId) {
        self.brokers.remove(&id);
    }

    /// A record about the broker's registration was applied.
    pub fn register(&mut self, id: BrokerId, fenced: bool) {
        let broker = self.brokers.entry(id).or_insert(BrokerHeartbeatState {
            fenced,
            metadata_offset: -1,
            controlled_shutdown_offset: -1,
        });
        // A registration that changes the fencing keeps the offset, any other unsets it.
        let metadata_offset = if broker.fenced == fenced {
            -1
        } else {
            broker.metadata_offset
        };
        self.touch(id, fenced, metadata_offset);
    }

    /// Takes over what a heartbeat led to. A broker that is fenced leaves controlled shutdown.
    ///
    /// # Panics
    /// Where the broker is not registered.
    pub fn touch(&mut self, id: BrokerId, fenced: bool, metadata_offset: Offset) {
        let broker = self.state_mut(id);
        broker.fenced = fenced;
        broker.metadata_offset = metadata_offset;
        if fenced {
            broker.controlled_shutdown_offset = -1;
        }
    }

    fn state_mut(&mut self, id: BrokerId) -> &mut BrokerHeartbeatState {
        self.brokers
            .get_mut(&id)
            .unwrap_or_else(|| panic!("broker {id} is not registered"))
    }

    /// The broker may stop once the active brokers have applied everything up to `offset`; only the
    /// first offset counts (KAFKA-14292).
    pub fn maybe_update_controlled_shutdown_offset(&mut self, id: BrokerId, offset: Offset) {
        let broker = self.state_mut(id);
        assert!(
            !broker.fenced,
            "fenced broker {id} enters controlled shutdown"
        );
        if broker.controlled_shutdown_offset < 0 {
            broker.controlled_shutdown_offset = offset;
        }
    }

    /// What the slowest active broker has applied; `i64::MAX` where none is active.
    fn lowest_active_offset(&self) -> Offset {
        self.brokers
            .values()
            .filter(|b| !b.fenced && !b.shutting_down())
            .map(|b| b.metadata_offset)
            .min()
            .unwrap_or(Offset::MAX)
    }

    /// The broker's present control state and the one that its heartbeat leads to.
    ///
    /// # Panics
    /// Where the broker is not registered.
    pub fn next_state(
        &self,
        request: &BrokerHeartbeatRequest,
        register_offset: Offset,
        has_leaderships: impl Fn() -> bool,
    ) -> (BrokerControlState, BrokerControlState) {
        use BrokerControlState::*;
        let broker = &self.brokers[&request.broker];
        if broker.shutting_down() {
            let done = !has_leaderships()
                && broker.controlled_shutdown_offset <= self.lowest_active_offset();
            let next = if done {
                ShutdownNow
            } else {
                ControlledShutdown
            };
            return (ControlledShutdown, next);
        }
        if broker.fenced {
            let next = if request.want_shut_down {
                ShutdownNow
            } else if !request.want_fence && request.current_metadata_offset >= register_offset {
                Unfenced
            } else {
                Fenced
            };
            return (Fenced, next);
        }
        let next = match (request.want_fence, request.want_shut_down) {
            (true, true) => ShutdownNow,
            (true, false) => Fenced,
            (false, true) if has_leaderships() => ControlledShutdown,
            (false, true) => ShutdownNow,
            (false, false) => Unfenced,
        };
        (Unfenced, next)
    }
}

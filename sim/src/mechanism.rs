//! The ways to lose a message: loss mechanisms by name.
//!
//! The attribution names one for every message that was acknowledged and not consumed, from the
//! events of the run alone; the guarantee model names those that a configuration allows under a
//! fault family. Both mean by a name what [`Mechanism::sentence`] says.
//!
//! Not named here: what nothing in this cluster can cause yet (transactions, retention, compaction,
//! eligible leader replicas, several controllers).

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
    S08,
    S09,
    S10,
    S12,
    S20,
    C02,
    C04,
    C05,
    C12,
    C14,
    C15,
    C18,
    C20,
    C21,
}

/// What is known of one mechanism.
struct Entry(
    Mechanism,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

/// Id, name, sentence and source of every mechanism, in the order of the enum.
const CATALOGUE: [Entry; 31] = [
    Entry(
        Mechanism::P01,
        "P01",
        "acks=0 lost on the way",
        "with acks=0 the record counted as sent once it was handed to the socket, and the connection ended before the request reached the leader's process, or before it was served while that process lived on",
        "ProducerConfig acks; Sender.sendProduceRequest expects no response",
    ),
    Entry(
        Mechanism::P02,
        "P02",
        "acks=0 behind a refused request",
        "with acks=0 the broker refused an earlier request, which it can only say by closing the connection, and the requests already under way behind it went down with that connection; or it refused this one for another reason than leadership",
        "KafkaApis.handleProduceRequest closes the connection on an acks=0 error",
    ),
    Entry(
        Mechanism::P03,
        "P03",
        "acks=0 to a broker that does not lead",
        "with acks=0 the record went to a broker that did not lead the partition at that instant (any more, or yet), which refused it without an answer",
        "ReplicaManager.appendToLocalLog, NOT_LEADER_OR_FOLLOWER",
    ),
    Entry(
        Mechanism::P04,
        "P04",
        "leader died before replication",
        "the leader had the record (with acks=1: and acknowledged it alone), its process or machine died before every in-sync replica had copied it, another replica was elected, and the old leader truncated it on its return",
        "ProducerConfig acks=1; KIP-101 truncation on the leader epoch",
    ),
    Entry(
        Mechanism::P05,
        "P05",
        "leadership moved before replication",
        "with acks=0 or 1 and no fault at all: the controller moved the leadership, because an operator asked for it, because the leader was shutting down in order or back to the preferred leader, to a member of the ISR that had not copied the record yet, and the old leader truncated it",
        "KAFKA-20554; preferred leader election in ReplicationControlManager",
    ),
    Entry(
        Mechanism::P06,
        "P06",
        "written to a leader that the controller had given up",
        "with acks=0 or 1 a leader cut off from the controller went on accepting records, another replica was elected meanwhile, and the old leader truncated them once it learned of it",
        "Produce carries no leader epoch; Partition.makeFollower after the heal",
    ),
    Entry(
        Mechanism::P08,
        "P08",
        "acknowledged below min.insync.replicas, not visible",
        "with acks=0 or 1 the leader took the record while its ISR was smaller than min.insync.replicas, so the high watermark stood still and no consumer could see it",
        "KAFKA-15583; Partition.maybeIncrementLeaderHW",
    ),
    Entry(
        Mechanism::P19,
        "P19",
        "acks=0 waiting at a broker that died",
        "with acks=0 the request had arrived at the leader and waited there unserved, with nothing to slow the producer down, when the leader's process or machine died",
        "SocketServer and RequestChannel queues; acks=0 has no backpressure",
    ),
    Entry(
        Mechanism::P20,
        "P20",
        "acks=0 to a broker that does not know the topic yet",
        "with acks=0 the record went to a broker that had not applied the metadata of the topic yet, and it was refused without an answer",
        "ReplicaManager.getPartitionOrError, UNKNOWN_TOPIC_OR_PARTITION",
    ),
    Entry(
        Mechanism::P21,
        "P21",
        "idempotent producer goes on over a gap",
        "after an election that lost acknowledged batches the idempotent producer met OUT_OF_ORDER_SEQUENCE_NUMBER, took a new epoch and went on, so that no callback told the application of the gap",
        "TransactionManager.handleFailedBatch, KIP-360",
    ),
    Entry(
        Mechanism::R01,
        "R01",
        "the ISR's only copy is gone",
        "the ISR had shrunk to the leader, which acknowledged alone (min.insync.replicas=1, or acks=0 or 1), and the leader's copy was lost with its disk",
        "BrokerConfig min.insync.replicas",
    ),
    Entry(
        Mechanism::R02,
        "R02",
        "unclean election past a sole in-sync replica",
        "the ISR had shrunk to one replica; while that one was away a replica from outside the ISR was elected and the others truncated to it",
        "unclean.leader.election.enable; PartitionChangeBuilder.electAnyLeader",
    ),
    Entry(
        Mechanism::R03,
        "R03",
        "unclean election past several copies",
        "at least min.insync.replicas=2 replicas had the record and were away when one that had left the ISR before came back first and was elected",
        "unclean.leader.election.enable; PartitionChangeBuilder.electAnyLeader",
    ),
    Entry(
        Mechanism::R04,
        "R04",
        "unclean election past a living ISR",
        "the in-sync replicas lived and went on committing, out of the controller's reach; it fenced them and elected a replica from outside the ISR",
        "unclean.leader.election.enable; BrokerHeartbeatManager",
    ),
    Entry(
        Mechanism::R05,
        "R05",
        "last replica standing",
        "the last member of the ISR lost power and with it records that it had not synced; without eligible leader replicas it stays in the ISR, leads again, and the replicas that had kept those records truncate to it",
        "KIP-966, last replica standing; PartitionChangeBuilder.build",
    ),
    Entry(
        Mechanism::S01,
        "S01",
        "the only replica lost power or its disk",
        "the partition has one replica, and its machine lost power before the record was synced, or its disk was replaced",
        "UnifiedLog flush policy, log.flush.interval.messages",
    ),
    Entry(
        Mechanism::S02,
        "S02",
        "every replica lost power",
        "every replica that had the record lost power before it was synced there",
        "UnifiedLog flush policy, log.flush.interval.messages; KIP-966 motivation",
    ),
    Entry(
        Mechanism::S08,
        "S08",
        "recovery cut the log at a damaged batch",
        "a stored batch was damaged, and the recovery after a crash cut the log there, with every record behind it, on the replica that led on",
        "LogSegment.recover: the CRC of every batch from the recovery point on",
    ),
    Entry(
        Mechanism::S09,
        "S09",
        "behind a damaged batch",
        "a stored batch of the leader's log was damaged: the leader serves it as it is, and every consumer finds its checksum wrong and stays in front of it with all its partitions, whatever the other replicas hold",
        "CompletedFetch.maybeEnsureValid (check.crcs), FetchCollector.collectFetch; nothing in Kafka reads a stored batch again by itself",
    ),
    Entry(
        Mechanism::S10,
        "S10",
        "the leader's disk failed it",
        "the leader's disk failed a write or a sync and the leader ended over it: another replica was elected before it had copied the record, or the failed sync had dropped the record and no other replica ever had it",
        "LogDirFailureChannel; ReplicaManager.handleLogDirFailure halts with the last log directory",
    ),
    Entry(
        Mechanism::S12,
        "S12",
        "the disk had lied about a sync",
        "the disk of the replica that led on had told it that the record was durable, and had not kept it when the power went; no other replica had kept it either, or it truncated to that leader",
        "FileRecords.flush trusts FileChannel.force: a write cache that power does not outlast is hardware",
    ),
    Entry(
        Mechanism::S20,
        "S20",
        "an empty disk led again",
        "the disk of the whole ISR was replaced by an empty one while replicas outside the ISR still held the record; the empty log was elected on its return, and they truncated to it",
        "PartitionChangeBuilder.electAnyLeader; KIP-966, KIP-858 directory ids",
    ),
    Entry(
        Mechanism::C02,
        "C02",
        "auto-commit on close",
        "processing failed in the middle of a batch and close() committed the position behind all of it",
        "ConsumerCoordinator.maybeAutoCommitOffsetsSync on close",
    ),
    Entry(
        Mechanism::C04,
        "C04",
        "committed before it was processed",
        "the application committed the offset behind the record first and died before it had processed it",
        "KafkaConsumer documentation, at-most-once",
    ),
    Entry(
        Mechanism::C05,
        "C05",
        "committed the position, not what was processed",
        "the application left its loop over a batch early and called commitSync() without arguments, which commits the position behind the whole batch",
        "KafkaConsumer.commitSync commits SubscriptionState.allConsumed",
    ),
    Entry(
        Mechanism::C12,
        "C12",
        "latest without a committed offset",
        "the group had no committed offset for the partition when it started, and auto.offset.reset=latest put it behind the record",
        "ConsumerConfig auto.offset.reset; OffsetFetcher",
    ),
    Entry(
        Mechanism::C14,
        "C14",
        "out of range after a truncation",
        "the log was cut below the consumer's offset, the offset was out of range, and auto.offset.reset=latest put the consumer behind what was written since",
        "KIP-320; SubscriptionState.maybeValidatePositionForCurrentLeader",
    ),
    Entry(
        Mechanism::C15,
        "C15",
        "the log grew past the offset again",
        "the log was cut below the consumer's offset and had grown past it again before the consumer went on without a leader epoch, so that the new records in between were passed",
        "KIP-320; OffsetCommitRequest committed leader epoch",
    ),
    Entry(
        Mechanism::C18,
        "C18",
        "the committed offset was lost",
        "the partition of __consumer_offsets lost the group's commits in a power loss, the group started again without an offset, and auto.offset.reset=latest put it behind the record",
        "GroupCoordinatorService.groupMetadataTopicConfigs",
    ),
    Entry(
        Mechanism::C20,
        "C20",
        "an exception was skipped",
        "the handler failed on the record, the application caught that and went on, and a commit passed it",
        "KafkaConsumer documentation: the committed position is that of the next record to be read",
    ),
    Entry(
        Mechanism::C21,
        "C21",
        "the dead letter was not durable",
        "the handler failed on the record, the application sent it to a dead-letter topic, and a commit passed it before that send was acknowledged, which then failed or was lost",
        "KafkaProducer.send is asynchronous",
    ),
];

impl Mechanism {
    /// Every mechanism, in the order of the catalogue.
    pub const ALL: [Mechanism; CATALOGUE.len()] = {
        let mut all = [Mechanism::P01; CATALOGUE.len()];
        let mut i = 0;
        while i < all.len() {
            all[i] = CATALOGUE[i].0;
            i += 1;
        }
        all
    };

    fn entry(self) -> &'static Entry {
        let entry = &CATALOGUE[self as usize];
        debug_assert_eq!(entry.0, self, "the catalogue is in the order of the enum");
        entry
    }

    /// The id: a letter and a number.
    pub fn id(self) -> &'static str {
        self.entry().1
    }

    /// A few words.
    pub fn name(self) -> &'static str {
        self.entry().2
    }

    /// What happens, exactly enough to tell it from its neighbours: one sentence without its full stop.
    pub fn sentence(self) -> &'static str {
        self.entry().3
    }

    /// Where Kafka has it: a class, a KIP or an issue.
    pub fn source(self) -> &'static str {
        self.entry().4
    }

    /// The mechanism with that id.
    pub fn from_id(id: &str) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|m| m.id() == id)
    }
}

impl std::fmt::Display for Mechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_in_the_order_of_the_enum_and_its_ids_are_the_variants() {
        for mechanism in Mechanism::ALL {
            assert_eq!(CATALOGUE[mechanism as usize].0, mechanism);
            assert_eq!(format!("{mechanism:?}"), mechanism.id());
            assert_eq!(Mechanism::from_id(mechanism.id()), Some(mechanism));
            assert!(!mechanism.sentence().ends_with('.'));
            assert!(mechanism.sentence().starts_with(char::is_lowercase));
        }
    }
}

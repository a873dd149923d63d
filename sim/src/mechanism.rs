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

impl Mechanism {
    /// Every mechanism, in the order of the catalogue.
    pub const ALL: [Mechanism; 24] = [
        Mechanism::P01,
        Mechanism::P02,
        Mechanism::P03,
        Mechanism::P04,
        Mechanism::P05,
        Mechanism::P06,
        Mechanism::P08,
        Mechanism::P19,
        Mechanism::P20,
        Mechanism::P21,
        Mechanism::R01,
        Mechanism::R02,
        Mechanism::R03,
        Mechanism::R04,
        Mechanism::R05,
        Mechanism::S01,
        Mechanism::S02,
        Mechanism::C02,
        Mechanism::C04,
        Mechanism::C05,
        Mechanism::C12,
        Mechanism::C14,
        Mechanism::C15,
        Mechanism::C18,
    ];

    /// Its id, as reports and the command line write it.
    pub fn id(self) -> &'static str {
        self.words().0
    }

    /// How the message is lost, in one sentence without its full stop.
    pub fn sentence(self) -> &'static str {
        self.words().1
    }

    /// Where it is known from: an issue, a KIP, a class of Kafka, or a configuration's documentation.
    pub fn source(self) -> &'static str {
        self.words().2
    }

    /// The mechanism of that id.
    pub fn from_id(id: &str) -> Option<Mechanism> {
        Mechanism::ALL
            .into_iter()
            .find(|mechanism| mechanism.id() == id)
    }

    #[rustfmt::skip] // one line a mechanism reads as the table that it is
    fn words(self) -> (&'static str, &'static str, &'static str) {
        use Mechanism::*;
        match self {
            P01 => ("P01", "with acks=0 a send counts as successful once it is handed to the socket; what the link or the dying leader drops is gone", "producer configuration, acks=0"),
            P02 => ("P02", "with acks=0 a broker reports an error only by closing the connection, and everything pipelined behind it is dropped", "KafkaApis.handleProduceRequest"),
            P03 => ("P03", "with acks=0 the producer goes on writing to a deposed leader until it refreshes its metadata, and every record is refused unheard", "producer configuration, acks=0 and metadata.max.age.ms"),
            P04 => ("P04", "with acks=1 the leader acknowledged a record that no follower had fetched yet, and was lost; the next leader never had it", "producer configuration, acks=1"),
            P05 => ("P05", "with acks=1 a planned move of the leadership leaves behind what the new leader had not fetched, without any fault", "KAFKA-20554"),
            P06 => ("P06", "with acks=1 a leader cut from the controller goes on acknowledging; all of it is truncated once the link heals", "Produce requests carry no leader epoch"),
            P08 => ("P08", "with acks=0 or 1 a record is acknowledged while the ISR is smaller than min.insync.replicas, so that the high watermark never passes it", "KAFKA-15583"),
            P19 => ("P19", "acks=0 has no backpressure: requests wait in the sockets of a slow leader, and a crash takes all of them", "producer configuration, acks=0"),
            P20 => ("P20", "with acks=0 a leader that has not applied the topic's metadata yet rejects the records, and nobody is told", "KafkaApis.handleProduceRequest"),
            P21 => ("P21", "after an unclean election the producer bumps its epoch and goes on, without telling the application that acknowledged batches are gone", "TransactionManager, OUT_OF_ORDER_SEQUENCE_NUMBER"),
            R01 => ("R01", "the ISR had shrunk to the leader, which acknowledged alone (min.insync.replicas=1), and its copy was lost", "min.insync.replicas"),
            R02 => ("R02", "the ISR had shrunk to the leader, which acknowledged alone, and a replica outside the ISR was elected uncleanly", "unclean.leader.election.enable"),
            R03 => ("R03", "an unclean election chose a replica outside the ISR while the members that had the record were down", "unclean.leader.election.enable"),
            R04 => ("R04", "an unclean election replaced an ISR that was alive but cut from the controller, with all that it acknowledged meanwhile", "unclean.leader.election.enable"),
            R05 => ("R05", "the last replica in the ISR lost its unflushed tail with its power and was elected again, and the others truncated to it", "KIP-966, last replica standing"),
            S01 => ("S01", "the only replica (replication factor 1) lost with its power what it had not flushed", "log.flush.interval.messages"),
            S02 => ("S02", "all replicas lost power before the record was flushed on any of them", "log.flush.interval.messages"),
            C02 => ("C02", "with enable.auto.commit=true, close() after an exception commits the position behind records that were never processed", "ConsumerCoordinator.maybeAutoCommitOffsetsSync"),
            C04 => ("C04", "the offset was committed before processing, and the consumer died in between", "consumer code: commit before processing"),
            C05 => ("C05", "commitSync() without arguments commits the position of the whole batch, also when the loop was left early", "KafkaConsumer.commitSync"),
            C12 => ("C12", "the group first started after the record was produced, and auto.offset.reset=latest skipped it", "auto.offset.reset"),
            C14 => ("C14", "the log was truncated below the committed offset, and auto.offset.reset=latest skipped what was written since", "KIP-320, commits without leader epoch"),
            C15 => ("C15", "the log was truncated and grew past the committed offset again, so the records between were skipped silently", "KIP-320, commits without leader epoch"),
            C18 => ("C18", "the group's committed offset was lost with __consumer_offsets, and auto.offset.reset=latest skipped what it stood for", "offsets.topic.replication.factor"),
        }
    }
}

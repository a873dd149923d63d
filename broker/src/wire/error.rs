//! Kafka's error codes (`org.apache.kafka.common.protocol.Errors`).

/// What a response says of a request or of one partition in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(i16)]
#[allow(missing_docs)] // Kafka's own names, documented there
pub enum ErrorCode {
    UnknownServerError = -1,
    #[default]
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    LeaderNotAvailable = 5,
    NotLeaderOrFollower = 6,
    RequestTimedOut = 7,
    BrokerNotAvailable = 8,
    ReplicaNotAvailable = 9,
    MessageTooLarge = 10,
    StaleControllerEpoch = 11,
    NetworkException = 13,
    CoordinatorLoadInProgress = 14,
    CoordinatorNotAvailable = 15,
    NotCoordinator = 16,
    InvalidTopicException = 17,
    RecordListTooLarge = 18,
    NotEnoughReplicas = 19,
    NotEnoughReplicasAfterAppend = 20,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    UnknownMemberId = 25,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidReplicaAssignment = 39,
    InvalidConfig = 40,
    NotController = 41,
    InvalidRequest = 42,
    InvalidTimestamp = 32,
    PolicyViolation = 44,
    OutOfOrderSequenceNumber = 45,
    DuplicateSequenceNumber = 46,
    InvalidProducerEpoch = 47,
    KafkaStorageError = 56,
    UnknownProducerId = 59,
    FencedLeaderEpoch = 74,
    UnknownLeaderEpoch = 75,
    StaleBrokerEpoch = 77,
    OffsetNotAvailable = 78,
    PreferredLeaderNotAvailable = 80,
    FencedInstanceId = 82,
    InvalidRecord = 87,
    InvalidUpdateVersion = 95,
    UnknownTopicId = 100,
    DuplicateBrokerRegistration = 101,
    BrokerIdNotRegistered = 102,
    InconsistentTopicId = 103,
    IneligibleReplica = 107,
    NewLeaderElected = 108,
}

impl ErrorCode {
    /// Every code that the product uses, for decoding.
    pub const ALL: &'static [ErrorCode] = {
        use ErrorCode::*;
        &[
            UnknownServerError,
            None,
            OffsetOutOfRange,
            CorruptMessage,
            UnknownTopicOrPartition,
            LeaderNotAvailable,
            NotLeaderOrFollower,
            RequestTimedOut,
            BrokerNotAvailable,
            ReplicaNotAvailable,
            MessageTooLarge,
            StaleControllerEpoch,
            NetworkException,
            CoordinatorLoadInProgress,
            CoordinatorNotAvailable,
            NotCoordinator,
            InvalidTopicException,
            RecordListTooLarge,
            NotEnoughReplicas,
            NotEnoughReplicasAfterAppend,
            InvalidRequiredAcks,
            IllegalGeneration,
            UnknownMemberId,
            UnsupportedVersion,
            TopicAlreadyExists,
            InvalidTimestamp,
            InvalidPartitions,
            InvalidReplicationFactor,
            InvalidReplicaAssignment,
            InvalidConfig,
            PolicyViolation,
            NotController,
            InvalidRequest,
            OutOfOrderSequenceNumber,
            DuplicateSequenceNumber,
            InvalidProducerEpoch,
            KafkaStorageError,
            UnknownProducerId,
            FencedLeaderEpoch,
            UnknownLeaderEpoch,
            StaleBrokerEpoch,
            OffsetNotAvailable,
            PreferredLeaderNotAvailable,
            FencedInstanceId,
            InvalidRecord,
            InvalidUpdateVersion,
            UnknownTopicId,
            DuplicateBrokerRegistration,
            BrokerIdNotRegistered,
            InconsistentTopicId,
            IneligibleReplica,
            NewLeaderElected,
        ]
    };

    /// The code with this number; unknown numbers read as `UnknownServerError`, as in Kafka's clients.
    pub fn from_code(code: i16) -> ErrorCode {
        Self::ALL
            .iter()
            .copied()
            .find(|e| *e as i16 == code)
            .unwrap_or(ErrorCode::UnknownServerError)
    }

    /// Kafka's spelling, `NOT_ENOUGH_REPLICAS`.
    pub fn name(self) -> String {
        let camel = format!("{self:?}");
        let mut name = String::with_capacity(camel.len() + 8);
        for (i, c) in camel.chars().enumerate() {
            if i > 0 && c.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(c.to_ascii_uppercase());
        }
        name
    }

    /// Whether it says that all is well.
    pub fn is_none(self) -> bool {
        self == ErrorCode::None
    }

    /// `RetriableException` in Kafka's Java client: the producer sends the batch again.
    pub fn is_retriable(self) -> bool {
        use ErrorCode::*;
        matches!(
            self,
            CorruptMessage
                | UnknownTopicOrPartition
                | LeaderNotAvailable
                | NotLeaderOrFollower
                | RequestTimedOut
                | ReplicaNotAvailable
                | NetworkException
                | CoordinatorLoadInProgress
                | CoordinatorNotAvailable
                | NotCoordinator
                | NotEnoughReplicas
                | NotEnoughReplicasAfterAppend
                | NotController
                | KafkaStorageError
                | FencedLeaderEpoch
                | UnknownLeaderEpoch
                | OffsetNotAvailable
                | PreferredLeaderNotAvailable
                | UnknownTopicId
                | InconsistentTopicId
        )
    }

    /// `InvalidMetadataException` in Kafka's Java client: refresh metadata before trying again.
    pub fn is_invalid_metadata(self) -> bool {
        use ErrorCode::*;
        matches!(
            self,
            UnknownTopicOrPartition
                | LeaderNotAvailable
                | NotLeaderOrFollower
                | ReplicaNotAvailable
                | NetworkException
                | KafkaStorageError
                | FencedLeaderEpoch
                | UnknownLeaderEpoch
                | UnknownTopicId
                | InconsistentTopicId
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_number() {
        // Those by which a leader refuses a batch among them: a producer acts on which it is.
        for error in [
            ErrorCode::InvalidTimestamp,
            ErrorCode::InvalidRecord,
            ErrorCode::CorruptMessage,
            ErrorCode::MessageTooLarge,
        ] {
            assert_eq!(ErrorCode::from_code(error as i16), error);
        }
        let mut codes: Vec<i16> = ErrorCode::ALL.iter().map(|e| *e as i16).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorCode::ALL.len(), "none is listed twice");
        assert_eq!(ErrorCode::from_code(9999), ErrorCode::UnknownServerError);
    }
}

//! One Kafka process.

//! Kafka's binary format.

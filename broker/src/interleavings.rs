//! Kafka's threads inside one broker, and which of their operations are several inputs here.
//!
//! [`SEVERAL_INPUTS`] lists what Kafka does in steps between which other threads get in, and a test
//! beside it shows for each that both orders are reached. [`ONE_INPUT`] lists what is one step here
//! although Kafka has a gap, or a lock, and why nothing can hide in it.

/// An operation that another may overtake or cut in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interleaving {
    /// In short.
    pub name: &'static str,
    /// What Kafka does, in which threads.
    pub kafka: &'static str,
    /// How it is here, and why.
    pub here: &'static str,
}

const fn entry(name: &'static str, kafka: &'static str, here: &'static str) -> Interleaving {
    Interleaving { name, kafka, here }
}

/// Operations that are several inputs.
pub const SEVERAL_INPUTS: &[Interleaving] = &[
    entry(
        "fetch-response-waits-for-its-fetcher",
        "A response is read from the socket and handled by the fetcher thread when it gets to it; roles change in between.",
        "Received, then Serve(ReplicaFetcher): what was asked is compared with what is fetched now (offset and epoch).",
    ),
    entry(
        "fetch-response-append-flush-high-watermark",
        "The fetcher appends, flushes under the partition's lock, and then takes the leader's high watermark over.",
        "The append, Synced, then high watermark and next offset; roles that change meanwhile wait for the fetcher.",
    ),
    entry(
        "metadata-image-before-replicas",
        "BrokerMetadataPublisher sets the metadata cache and then applies the delta to the replicas; request handlers run in between.",
        "Two Serve(MetadataPublisher): a fetch in between meets new broker epochs and former roles.",
    ),
    entry(
        "metadata-publication-waits-for-the-log-lock",
        "makeLeader and makeFollower take leaderIsrUpdateLock for writing, which an append that flushes holds for reading.",
        "The publication is blocked until Synced; otherwise a follower would ask from an offset that is not durable yet.",
    ),
    entry(
        "produce-append-before-its-answer",
        "The append ends with its lock; DelayedProduce looks at the ISR after that, and a shrink may be applied first.",
        "Behind a flush the answer is an input of its own: success, or NotEnoughReplicasAfterAppend.",
    ),
    entry(
        "isr-proposal-and-its-answer",
        "AlterPartition goes out of the lock; its answer, newer metadata and fetches come in any order.",
        "Response and publication are inputs of different connections: whichever is second is passed over by partition epoch.",
    ),
    entry(
        "isr-expiry-and-fetch",
        "The scheduler looks for lagging followers while their fetches are being handled.",
        "Serve(Scheduler) and Serve(RequestHandler): a fetch handled first keeps its follower in the ISR.",
    ),
    entry(
        "coordinator-load-and-commit",
        "A coordinator loads its partition in a thread of its own; commits meanwhile are answered, not queued.",
        "Serve(Coordinator) and Serve(RequestHandler): COORDINATOR_LOAD_IN_PROGRESS before the load.",
    ),
    entry(
        "disk-error-and-halt",
        "LogDirFailureHandler takes a failed directory up after the request that met it was answered.",
        "Serve(LogDirFailureHandler) halts; until then appends are refused and reads go on.",
    ),
    entry(
        "heartbeat-and-isr-proposal",
        "Heartbeats and AlterPartition travel over channels of their own, and the controller handles either first.",
        "Two connections: a proposal may reach the controller after its leader was fenced.",
    ),
];

/// Operations that are one input although Kafka has a gap or a lock there.
pub const ONE_INPUT: &[Interleaving] = &[
    entry(
        "fetch-response-partition-by-partition",
        "A fetcher handles all partitions of a response under partitionMapLock.",
        "One step where no flush is due: whoever removes partitions from the fetcher waits for that lock in Kafka too.",
    ),
    entry(
        "isr-state-checked-twice",
        "maybeExpandIsr and maybeShrinkIsr check under the read lock and again under the write lock.",
        "Checked once: the second check alone decides.",
    ),
    entry(
        "read-then-update-follower",
        "A follower's fetch is read under the read lock, and its offset noted after it.",
        "One step: in between a leadership of the same broker can only be renewed (its log has grown at most) or end (the offset is noted on a replica that is forgotten).",
    ),
    entry(
        "append-then-next-partition",
        "A Produce of several partitions lets others in between its appends.",
        "One step where no flush is due: no promise spans partitions.",
    ),
    entry(
        "high-watermark-then-delayed-operations",
        "Whoever moved the high watermark completes waiting requests after the lock.",
        "One step: a shrink in between would change the error, never an acknowledgement into a loss.",
    ),
];

#[cfg(test)]
mod tests;

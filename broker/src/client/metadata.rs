//! What a client knows of the cluster: Kafka's `Metadata` with its `MetadataSnapshot`.
//!
//! Modelled: bootstrap, refresh by age (`metadata.max.age.ms`) and on request, back-off after failed
//! and after unchanged answers, leader epochs that never go back (`updateLatestMetadata`, KIP-320),
//! topics deleted and created again under another id, leader hints in Produce and Fetch answers
//! (KIP-951), and the return to the bootstrap addresses when no known broker can be tried
//! (`metadata.recovery.strategy=rebootstrap`, the default since 4.0: KIP-899, KIP-1102).
//!
//! NOT modelled: requests for new topics only (every request names all topics of the client), the
//! producer's forgetting of idle topics (`metadata.max.idle.ms`), authorization and invalid topic
//! names, racks, `metadata.recovery.rebootstrap.trigger.ms`.

use super::backoff::ExponentialBackoff;
use crate::env::Stream;
use crate::ids::*;
use crate::time::{Nanos, millis};
use crate::wire::{MetadataRequest, MetadataResponse, PartitionMetadata};
use std::sync::Arc;

/// `Metadata.LeaderAndEpoch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LeaderAndEpoch {
    /// The leader, if it is known and among the known brokers.
    pub leader: Option<NodeId>,
    /// Its epoch, if known.
    pub epoch: Option<LeaderEpoch>,
}

/// A partition of the present snapshot.
#[derive(Debug, Clone, Copy)]
struct PartitionInfo {
    leader: BrokerId,
    epoch: Option<LeaderEpoch>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Partition {
    /// `Metadata.lastSeenLeaderEpochs`: outlives the snapshot.
    last_seen_epoch: Option<LeaderEpoch>,
    /// `None` where the snapshot does not have the partition.
    info: Option<PartitionInfo>,
}

#[derive(Debug, Clone, Default)]
struct Topic {
    id: Option<TopicId>,
    /// The same, kept when the snapshot loses the topic.
    last_id: Option<TopicId>,
    partitions: Vec<Partition>,
}

/// The client's view of the cluster and the rules for refreshing it.
#[derive(Debug)]
pub(crate) struct Metadata {
    bootstrap: Vec<NodeId>,
    /// `None` until the first answer and after a return to the bootstrap addresses.
    nodes: Option<Vec<NodeId>>,
    /// Sorted by name. The names are shared, so that mostly their addresses tell which is which.
    topics: Vec<(TopicName, Topic)>,
    backoff: ExponentialBackoff,
    max_age: Nanos,
    need_update: bool,
    new_topics: bool,
    request_version: u64,
    update_version: u64,
    snapshot_version: u64,
    last_successful_refresh: Option<Nanos>,
    attempts: u32,
    equivalent_responses: u32,
    /// No request before this instant: the back-off after an attempt.
    attempt_allowed_at: Nanos,
    /// No request before this instant: the back-off after answers without news.
    progress_allowed_at: Nanos,
    last_refresh: Nanos,
}

impl Metadata {
    /// A client that knows only where to begin. Times are in milliseconds.
    pub(crate) fn new(
        bootstrap: Vec<NodeId>,
        retry_backoff_ms: i64,
        retry_backoff_max_ms: i64,
        max_age_ms: i64,
    ) -> Self {
        assert!(!bootstrap.is_empty(), "no bootstrap.servers");
        Metadata {
            bootstrap,
            nodes: None,
            topics: Vec::new(),
            backoff: ExponentialBackoff::new(retry_backoff_ms, retry_backoff_max_ms),
            max_age: millis(max_age_ms),
            need_update: true,
            new_topics: false,
            request_version: 0,
            update_version: 1,
            snapshot_version: 1,
            last_successful_refresh: None,
            attempts: 0,
            equivalent_responses: 0,
            attempt_allowed_at: 0,
            progress_allowed_at: 0,
            last_refresh: 0,
        }
    }

    /// The brokers of the snapshot; `None` while only the bootstrap addresses are known.
    pub(crate) fn nodes(&self) -> Option<&[NodeId]> {
        self.nodes.as_deref()
    }

    /// Where the client begins.
    pub(crate) fn bootstrap_nodes(&self) -> &[NodeId] {
        &self.bootstrap
    }

    /// `MetadataRecoveryStrategy.REBOOTSTRAP`: forgets the snapshot, keeps the epochs seen.
    pub(crate) fn rebootstrap(&mut self) {
        self.nodes = None;
        for (_, topic) in &mut self.topics {
            topic.id = None;
            for partition in &mut topic.partitions {
                partition.info = None;
            }
        }
        self.need_update = true;
        self.update_version += 1;
        self.snapshot_version += 1;
    }

    /// Changes with every answer, as `Metadata.updateVersion`.
    pub(crate) fn update_version(&self) -> u64 {
        self.update_version
    }

    /// Changes whenever a leader may have changed, by an answer or a KIP-951 hint.
    pub(crate) fn snapshot_version(&self) -> u64 {
        self.snapshot_version
    }

    /// `ProducerMetadata.add`: from now on the topic is asked for, at once if it is new.
    pub(crate) fn add_topic(&mut self, topic: &TopicName) {
        if let Err(at) = self.position(topic) {
            self.topics.insert(at, (topic.clone(), Topic::default()));
            self.request_update_for_new_topics();
        }
    }

    /// The consumer's topics: others are forgotten.
    pub(crate) fn retain_topics(&mut self, wanted: impl Fn(&TopicName) -> bool) {
        self.topics.retain(|(name, _)| wanted(name));
    }

    /// `Metadata.requestUpdateForNewTopics`.
    pub(crate) fn request_update_for_new_topics(&mut self) {
        self.new_topics = true;
        self.attempt_allowed_at = 0;
        self.progress_allowed_at = 0;
        self.equivalent_responses = 0;
        self.request_version += 1;
    }

    /// `Metadata.requestUpdate`; `reset_backoff` forgets that answers brought nothing new.
    pub(crate) fn request_update(&mut self, reset_backoff: bool) {
        self.need_update = true;
        if reset_backoff {
            self.equivalent_responses = 0;
            self.progress_allowed_at = 0;
        }
    }

    /// Whether somebody asked for an update that has not come yet.
    pub(crate) fn update_requested(&self) -> bool {
        self.need_update || self.new_topics
    }

    /// `Metadata.timeToNextUpdate` as an instant.
    pub(crate) fn next_update_at(&self, now: Nanos) -> Nanos {
        let expires = self
            .last_successful_refresh
            .map_or(0, |at| at.saturating_add(self.max_age));
        let due = if self.update_requested() { 0 } else { expires };
        // Refreshing by age does not count as an attempt that brought nothing.
        let progress = if expires <= now {
            0
        } else {
            self.progress_allowed_at
        };
        due.max(self.attempt_allowed_at).max(progress)
    }

    /// What to ask, and the version to hand back with the answer.
    pub(crate) fn new_request(&self) -> (MetadataRequest, u64) {
        let topics = self.topics.iter().map(|(name, _)| name.clone()).collect();
        (
            MetadataRequest {
                topics: Some(topics),
                // Topics of a run are there from its start; none may appear by a name mistyped.
                allow_auto_topic_creation: false,
            },
            self.request_version,
        )
    }

    /// `Metadata.failedUpdate`.
    pub(crate) fn failed_update(&mut self, now: Nanos, rng: &mut Stream) {
        self.last_refresh = now;
        self.attempts = self.attempts.saturating_add(1);
        self.equivalent_responses = 0;
        self.back_off(rng);
    }

    fn back_off(&mut self, rng: &mut Stream) {
        let attempts = self.attempts.saturating_sub(1);
        self.attempt_allowed_at = self
            .last_refresh
            .saturating_add(self.backoff.after(attempts, rng));
        self.progress_allowed_at = match self.equivalent_responses {
            0 => 0,
            n => self
                .last_refresh
                .saturating_add(self.backoff.after(n - 1, rng)),
        };
    }

    /// `Metadata.update` with a full answer to the request of that version.
    pub(crate) fn update(
        &mut self,
        version: u64,
        response: &MetadataResponse,
        now: Nanos,
        rng: &mut Stream,
    ) {
        if response.brokers.is_empty() {
            self.failed_update(now, rng);
            return;
        }
        self.new_topics = version < self.request_version;
        self.need_update = false;
        self.last_refresh = now;
        self.last_successful_refresh = Some(now);
        self.attempts = 0;
        self.update_version += 1;
        self.snapshot_version += 1;
        self.equivalent_responses = self.equivalent_responses.saturating_add(1);
        self.nodes = Some(
            response
                .brokers
                .iter()
                .map(|b| NodeId::of_broker(*b))
                .collect(),
        );
        let mut topics = std::mem::take(&mut self.topics);
        for (name, topic) in &mut topics {
            self.update_topic(name, topic, response);
        }
        self.topics = topics;
        self.back_off(rng);
    }

    /// `Metadata.handleMetadataResponse` for one topic. What the answer lacks leaves the snapshot.
    fn update_topic(&mut self, name: &TopicName, topic: &mut Topic, response: &MetadataResponse) {
        let old_id = topic.id.take();
        let mut old = std::mem::take(&mut topic.partitions);
        topic.partitions = old
            .iter()
            .map(|p| Partition {
                last_seen_epoch: p.last_seen_epoch,
                info: None,
            })
            .collect();
        let Some(answer) = response.topics.iter().find(|t| t.name == *name) else {
            return;
        };
        if answer.id != TopicId(0) {
            topic.id = Some(answer.id);
            topic.last_id = topic.id;
        }
        if !answer.error.is_none() {
            if answer.error.is_invalid_metadata() {
                self.request_update(false);
            }
            return;
        }
        let recreated = topic.id.is_some() && topic.id != old_id;
        for partition in &answer.partitions {
            let index = usize::try_from(partition.partition).expect("partition index");
            if topic.partitions.len() <= index {
                topic.partitions.resize(index + 1, Partition::default());
                old.resize(index + 1, Partition::default());
            }
            topic.partitions[index] = self.update_latest_metadata(partition, old[index], recreated);
            if partition.error.is_invalid_metadata() {
                self.request_update(false);
            }
        }
    }

    /// `Metadata.updateLatestMetadata`: an older epoch than one seen before is ignored, unless the
    /// topic was created again.
    fn update_latest_metadata(
        &mut self,
        answer: &PartitionMetadata,
        old: Partition,
        recreated: bool,
    ) -> Partition {
        let news = |epoch| Partition {
            last_seen_epoch: epoch,
            info: Some(PartitionInfo {
                leader: answer.leader,
                epoch,
            }),
        };
        if answer.leader_epoch == NO_EPOCH {
            self.equivalent_responses = 0;
            return news(None);
        }
        match old.last_seen_epoch {
            Some(seen) if !recreated && answer.leader_epoch < seen => old,
            Some(seen) if !recreated && answer.leader_epoch == seen => {
                news(Some(answer.leader_epoch))
            }
            _ => {
                self.equivalent_responses = 0;
                news(Some(answer.leader_epoch))
            }
        }
    }

    /// `Metadata.updatePartitionLeadership` (KIP-951): a leader that an answer named, and the brokers
    /// whose `endpoints` it gave. True where it is news.
    pub(crate) fn update_partition_leadership(
        &mut self,
        topic: &TopicName,
        partition: i32,
        (leader, epoch): (BrokerId, LeaderEpoch),
        endpoints: &[BrokerId],
    ) -> bool {
        if leader == NO_BROKER || epoch == NO_EPOCH {
            return false;
        }
        if !endpoints.contains(&leader) && !self.is_known(NodeId::of_broker(leader)) {
            return false;
        }
        let current = self.current_leader(topic, partition);
        if current.epoch.is_some_and(|known| epoch <= known) {
            return false;
        }
        let Some(state) = self.partition_mut(topic, partition) else {
            return false;
        };
        if state.info.is_none() {
            return false;
        }
        state.last_seen_epoch = Some(epoch);
        state.info = Some(PartitionInfo {
            leader,
            epoch: Some(epoch),
        });
        let nodes = self.nodes.get_or_insert_default();
        nodes.extend(endpoints.iter().map(|id| NodeId::of_broker(*id)));
        nodes.sort_unstable();
        nodes.dedup();
        self.snapshot_version += 1;
        true
    }

    /// `Metadata.updateLastSeenEpochIfNewer`: an epoch learnt elsewhere asks for an update.
    pub(crate) fn update_last_seen_epoch_if_newer(
        &mut self,
        topic: &TopicName,
        partition: i32,
        epoch: LeaderEpoch,
    ) {
        if epoch < 0 {
            return;
        }
        if let Some(state) = self.partition_mut(topic, partition)
            && state.last_seen_epoch.is_some_and(|seen| epoch > seen)
        {
            state.last_seen_epoch = Some(epoch);
            self.snapshot_version += 1;
            self.need_update = true;
        }
    }

    /// `Metadata.currentLeader`: no leader while the snapshot is older than the newest epoch seen.
    pub(crate) fn current_leader(&self, topic: &TopicName, partition: i32) -> LeaderAndEpoch {
        let Some(state) = self.partition(topic, partition) else {
            return LeaderAndEpoch::default();
        };
        match state.info {
            Some(info)
                if state.last_seen_epoch.is_none() || info.epoch == state.last_seen_epoch =>
            {
                LeaderAndEpoch {
                    leader: self.node_of(info.leader),
                    epoch: info.epoch,
                }
            }
            _ => LeaderAndEpoch {
                leader: None,
                epoch: state.last_seen_epoch,
            },
        }
    }

    /// `Cluster.leaderFor` and `MetadataSnapshot.leaderEpochFor`: the snapshot as it is.
    pub(crate) fn snapshot_leader(&self, topic: &TopicName, partition: i32) -> LeaderAndEpoch {
        match self.partition(topic, partition).and_then(|p| p.info) {
            Some(info) => LeaderAndEpoch {
                leader: self.node_of(info.leader),
                epoch: info.epoch,
            },
            None => LeaderAndEpoch::default(),
        }
    }

    /// Id of a topic of the snapshot.
    pub(crate) fn topic_id(&self, topic: &TopicName) -> Option<TopicId> {
        self.topic(topic).and_then(|t| t.id)
    }

    /// The id under which the topic was last seen.
    pub(crate) fn last_topic_id(&self, topic: &TopicName) -> Option<TopicId> {
        self.topic(topic).and_then(|t| t.last_id)
    }

    /// Whether the snapshot has the partition.
    pub(crate) fn has_partition(&self, topic: &TopicName, partition: i32) -> bool {
        self.partition(topic, partition)
            .is_some_and(|p| p.info.is_some())
    }

    /// `Cluster.partitionCountForTopic`: `None` where the snapshot does not have the topic.
    pub(crate) fn partition_count(&self, topic: &TopicName) -> Option<i32> {
        let partitions = &self.topic(topic)?.partitions;
        let known = partitions.iter().filter(|p| p.info.is_some()).count();
        (known > 0).then_some(known as i32)
    }

    /// `Cluster.availablePartitionsForTopic`: those with a leader.
    pub(crate) fn available_partitions(&self, topic: &TopicName) -> Vec<i32> {
        let count = self.topic(topic).map_or(0, |t| t.partitions.len()) as i32;
        (0..count)
            .filter(|p| self.snapshot_leader(topic, *p).leader.is_some())
            .collect()
    }

    /// Where the topic is, or belongs.
    fn position(&self, topic: &TopicName) -> Result<usize, usize> {
        let same = |(known, _): &(TopicName, Topic)| Arc::ptr_eq(known, topic);
        match self.topics.iter().position(same) {
            Some(at) => Ok(at),
            None => self.topics.binary_search_by(|(known, _)| known.cmp(topic)),
        }
    }

    fn topic(&self, topic: &TopicName) -> Option<&Topic> {
        self.position(topic).ok().map(|at| &self.topics[at].1)
    }

    fn partition(&self, topic: &TopicName, partition: i32) -> Option<&Partition> {
        let index = usize::try_from(partition).ok()?;
        self.topic(topic)?.partitions.get(index)
    }

    fn partition_mut(&mut self, topic: &TopicName, partition: i32) -> Option<&mut Partition> {
        let index = usize::try_from(partition).ok()?;
        let at = self.position(topic).ok()?;
        self.topics[at].1.partitions.get_mut(index)
    }

    fn node_of(&self, broker: BrokerId) -> Option<NodeId> {
        (broker != NO_BROKER)
            .then(|| NodeId::of_broker(broker))
            .filter(|node| self.is_known(*node))
    }

    fn is_known(&self, node: NodeId) -> bool {
        self.nodes.as_ref().is_some_and(|n| n.contains(&node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MILLIS;
    use crate::wire::{ErrorCode, TopicMetadata};

    fn answer(id: u128, leader: BrokerId, epoch: LeaderEpoch) -> MetadataResponse {
        MetadataResponse {
            brokers: vec![0, 1],
            controller: -1,
            topics: vec![TopicMetadata {
                error: ErrorCode::None,
                name: "t".into(),
                id: TopicId(id),
                partitions: vec![PartitionMetadata {
                    error: ErrorCode::None,
                    partition: 0,
                    leader,
                    leader_epoch: epoch,
                    replicas: [0, 1].into(),
                    isr: [0, 1].into(),
                }],
            }],
        }
    }

    fn fresh() -> (Metadata, Stream, TopicName) {
        let mut metadata = Metadata::new(vec![NodeId(0)], 100, 1000, 300_000);
        let topic: TopicName = "t".into();
        metadata.add_topic(&topic);
        (metadata, Stream::new(1, 1), topic)
    }

    fn take(metadata: &mut Metadata, response: &MetadataResponse, now: Nanos, rng: &mut Stream) {
        let (_, version) = metadata.new_request();
        metadata.update(version, response, now, rng);
    }

    #[test]
    fn an_older_leader_epoch_is_ignored_unless_the_topic_is_another() {
        let (mut m, mut rng, t) = fresh();
        take(&mut m, &answer(7, 1, 5), 0, &mut rng);
        take(&mut m, &answer(7, 0, 4), 0, &mut rng);
        assert_eq!(m.current_leader(&t, 0).leader, Some(NodeId(1)));
        assert_eq!(m.current_leader(&t, 0).epoch, Some(5));
        take(&mut m, &answer(8, 0, 0), 0, &mut rng);
        assert_eq!(m.current_leader(&t, 0).leader, Some(NodeId(0)));
        assert_eq!(m.current_leader(&t, 0).epoch, Some(0));
    }

    #[test]
    fn a_leader_hint_counts_only_where_it_is_newer_and_its_broker_known() {
        let (mut m, mut rng, t) = fresh();
        take(&mut m, &answer(7, 0, 5), 0, &mut rng);
        assert!(!m.update_partition_leadership(&t, 0, (1, 5), &[1]));
        assert!(!m.update_partition_leadership(&t, 0, (9, 6), &[1]));
        assert!(m.update_partition_leadership(&t, 0, (1, 6), &[]));
        assert_eq!(m.snapshot_leader(&t, 0).leader, Some(NodeId(1)));
    }

    #[test]
    fn a_leader_hint_with_an_endpoint_makes_its_broker_known() {
        let (mut m, mut rng, t) = fresh();
        take(&mut m, &answer(7, 0, 5), 0, &mut rng);
        assert!(m.update_partition_leadership(&t, 0, (9, 6), &[9]));
        assert_eq!(m.current_leader(&t, 0).leader, Some(NodeId(9)));
        assert_eq!(m.nodes(), Some(&[NodeId(0), NodeId(1), NodeId(9)][..]));
        m.rebootstrap();
        assert!(!m.update_partition_leadership(&t, 0, (9, 7), &[9]));
        assert_eq!(m.nodes(), None, "no snapshot to add to");
    }

    #[test]
    fn an_epoch_learnt_elsewhere_hides_the_leader_until_the_update() {
        let (mut m, mut rng, t) = fresh();
        take(&mut m, &answer(7, 0, 5), 0, &mut rng);
        assert!(!m.update_requested());
        m.update_last_seen_epoch_if_newer(&t, 0, 6);
        assert!(m.update_requested());
        assert_eq!(m.current_leader(&t, 0).leader, None);
        take(&mut m, &answer(7, 1, 6), 0, &mut rng);
        assert_eq!(m.current_leader(&t, 0).leader, Some(NodeId(1)));
    }

    #[test]
    fn requests_back_off_longer_while_answers_bring_nothing_new() {
        let (mut m, mut rng, _) = fresh();
        assert_eq!(m.next_update_at(0), 0);
        let mut waits = Vec::new();
        let now = 1_000 * MILLIS;
        for _ in 0..5 {
            take(&mut m, &answer(7, 0, 5), now, &mut rng);
            m.request_update(false);
            waits.push(m.next_update_at(now) - now);
        }
        assert!(waits[0] <= 120 * MILLIS, "{waits:?}");
        assert!(waits[4] >= 640 * MILLIS, "{waits:?}");
        m.request_update(true);
        assert!(m.next_update_at(now) - now <= 120 * MILLIS);
    }

    #[test]
    fn is_refreshed_by_age() {
        let (mut m, mut rng, _) = fresh();
        take(&mut m, &answer(7, 0, 5), 10, &mut rng);
        assert_eq!(m.next_update_at(10), 300_000 * MILLIS + 10);
    }
}

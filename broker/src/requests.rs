//! What a broker does with each API: `KafkaApis`.

use crate::broker::Run;
use crate::controller::topic_name_error;
use crate::env::Env;
use crate::fact::Fact;
use crate::group::offsets::{commit_response, fetch_response};
use crate::group::{OFFSETS_TOPIC, offsets_topic_configs, partition_for};
use crate::ids::*;
use crate::replica::purgatory::Asker;
use crate::time::millis;
use crate::wire::*;

impl Run {
    /// A request handler takes a request.
    #[inline]
    #[allow(clippy::boxed_local)] // it arrives in a box, and only what its API needs is moved out
    pub(crate) fn handle(&mut self, asker: Asker, request: Box<Request>, env: &mut Env<'_>) {
        match *request {
            Request::Produce(request) => self.replicas.produce(asker, request, &self.image, env),
            Request::Fetch(request) => self.replicas.fetch(asker, request, &self.image, env),
            Request::ListOffsets(request) => {
                let response = self.list_offsets(&request, env);
                self.respond(asker, response, env);
            }
            Request::OffsetForLeaderEpoch(request) => {
                let response = self.epoch_ends(&request);
                self.respond(asker, response, env);
            }
            Request::Metadata(request) => {
                let response = self.metadata(&request, env);
                self.respond(asker, response, env);
            }
            Request::FindCoordinator(request) => {
                let response = self.find_coordinator(request, env);
                self.respond(asker, response, env);
            }
            Request::CreateTopics(request) => {
                let timeout = millis(self.config.request_timeout_ms);
                self.forwarding.create_topics(asker, request, timeout, env);
            }
            Request::DeleteRecords(request) => {
                self.replicas
                    .delete_records(asker, &request, &self.image, env);
            }
            Request::OffsetCommit(request) => self.offset_commit(asker, request, env),
            Request::OffsetFetch(request) => self.offset_fetch(asker, request, env),
            Request::InitProducerId(_) => {
                let response = self.init_producer_id(env);
                self.respond(asker, response, env);
            }
            Request::ApiVersions(_) => {
                let apis = CLIENT_APIS
                    .iter()
                    .map(|api| (*api as i16, 0, api.version()));
                let response = ApiVersionsResponse {
                    error: ErrorCode::None,
                    apis: apis.collect(),
                };
                self.respond(asker, Response::ApiVersions(response), env);
            }
            Request::AlterPartition(_)
            | Request::BrokerRegistration(_)
            | Request::BrokerHeartbeat(_)
            | Request::AllocateProducerIds(_) => {
                panic!(
                    "the controller's request {:?} reached a broker",
                    request.api()
                )
            }
        }
    }

    fn list_offsets(&self, request: &ListOffsetsRequest, env: &Env<'_>) -> Response {
        let topics = request.topics.iter().map(|(topic, asks)| {
            let results = asks.iter().map(|ask| {
                let found = self
                    .image
                    .partition_id(topic, ask.partition)
                    .ok_or(ErrorCode::UnknownTopicOrPartition)
                    .and_then(|id| {
                        let asker = request.replica_id;
                        self.replicas.list_offset(id, ask, asker, &*env.disk)
                    });
                let (error, (timestamp, offset, leader_epoch)) = match found {
                    Ok(found) => (ErrorCode::None, found),
                    Err(error) => (error, (-1, -1, NO_EPOCH)),
                };
                ListOffsetsPartitionResult {
                    partition: ask.partition,
                    error,
                    timestamp,
                    offset,
                    leader_epoch,
                }
            });
            (topic.clone(), results.collect())
        });
        Response::ListOffsets(ListOffsetsResponse {
            topics: topics.collect(),
        })
    }

    fn epoch_ends(&self, request: &OffsetForLeaderEpochRequest) -> Response {
        let topics = request.topics.iter().map(|(topic, asks)| {
            let results =
                asks.iter()
                    .map(|ask| match self.image.partition_id(topic, ask.partition) {
                        Some(id) => self.replicas.epoch_end(id, ask),
                        None => EpochEnd {
                            partition: ask.partition,
                            error: ErrorCode::UnknownTopicOrPartition,
                            leader_epoch: NO_EPOCH,
                            end_offset: -1,
                        },
                    });
            (topic.clone(), results.collect())
        });
        Response::OffsetForLeaderEpoch(OffsetForLeaderEpochResponse {
            topics: topics.collect(),
        })
    }

    /// `KRaftMetadataCache`: a leader that is not alive counts as none.
    fn metadata(&mut self, request: &MetadataRequest, env: &mut Env<'_>) -> Response {
        if request.allow_auto_topic_creation && self.config.auto_create_topics_enable {
            let asked = request.topics.iter().flatten();
            let missing = asked.filter(|name| {
                self.image.topic_id(name).is_none() && topic_name_error(name).is_none()
            });
            let missing: Vec<TopicName> = missing.cloned().collect();
            self.auto_create(&missing, env);
        }
        let all: Vec<TopicName>;
        let names = match &request.topics {
            Some(names) => names,
            None => {
                all = self.image.topic_ids().keys().cloned().collect();
                &all
            }
        };
        let topics = names.iter().map(|name| self.topic_metadata(name));
        let alive = self.image.brokers().values().filter(|b| !b.fenced);
        let brokers: Vec<BrokerId> = alive.map(|b| b.id).collect();
        // Any alive broker stands for the controller, which clients cannot reach (KIP-590).
        let controller = brokers.first().copied().unwrap_or(NO_BROKER);
        Response::Metadata(MetadataResponse {
            topics: topics.collect(),
            brokers,
            controller,
        })
    }

    fn topic_metadata(&self, name: &TopicName) -> TopicMetadata {
        let Some(topic) = self.image.topic_by_name(name) else {
            return TopicMetadata {
                error: match topic_name_error(name) {
                    None => ErrorCode::UnknownTopicOrPartition,
                    Some(_) => ErrorCode::InvalidTopicException,
                },
                name: name.clone(),
                id: TopicId(0),
                partitions: Vec::new(),
            };
        };
        let partitions = topic.partitions.iter().map(|(&index, state)| {
            let alive = self.image.broker(state.leader).is_some_and(|b| !b.fenced);
            PartitionMetadata {
                error: if alive {
                    ErrorCode::None
                } else {
                    ErrorCode::LeaderNotAvailable
                },
                partition: index,
                leader: if alive { state.leader } else { NO_BROKER },
                leader_epoch: state.leader_epoch,
                replicas: state.replicas.clone(),
                isr: state.isr.clone(),
            }
        });
        TopicMetadata {
            error: ErrorCode::None,
            name: name.clone(),
            id: topic.id,
            partitions: partitions.collect(),
        }
    }

    /// `DefaultAutoTopicCreationManager.creatableTopic`: names that are valid and unknown.
    fn auto_create(&mut self, names: &[TopicName], env: &mut Env<'_>) {
        let config = &self.config;
        let topic = |name: &TopicName| CreatableTopic {
            name: name.clone(),
            num_partitions: config.num_partitions,
            replication_factor: config.default_replication_factor,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        let offsets = |topic: CreatableTopic| {
            let configs = offsets_topic_configs(config).into_iter();
            let configs = configs.map(|(key, value)| (key.into(), Some(value.into())));
            CreatableTopic {
                num_partitions: config.offsets_topic_num_partitions,
                replication_factor: config.offsets_topic_replication_factor,
                configs: configs.collect(),
                ..topic
            }
        };
        let topic = |name: &TopicName| match &**name {
            OFFSETS_TOPIC => offsets(topic(name)),
            _ => topic(name),
        };
        let topics = names.iter().map(topic).collect();
        self.forwarding
            .auto_create(topics, config.request_timeout_ms, env);
    }

    /// The internal topic comes into being when it is first needed.
    fn find_coordinator(&mut self, request: FindCoordinatorRequest, env: &mut Env<'_>) -> Response {
        if self.image.topic_id(OFFSETS_TOPIC).is_none() {
            self.auto_create(&[OFFSETS_TOPIC.into()], env);
        }
        let leader = self.image.topic_by_name(OFFSETS_TOPIC).and_then(|topic| {
            let partition = partition_for(&request.group, topic.partitions.len() as i32);
            let leader = topic.partitions.get(&partition)?.leader;
            self.image
                .broker(leader)
                .filter(|b| !b.fenced)
                .map(|_| leader)
        });
        Response::FindCoordinator(FindCoordinatorResponse {
            group: request.group,
            node: leader.unwrap_or(NO_BROKER),
            error: match leader {
                Some(_) => ErrorCode::None,
                None => ErrorCode::CoordinatorNotAvailable,
            },
        })
    }

    fn offsets_partition_for(&self, group: &str) -> Option<i32> {
        let topic = self.image.topic_by_name(OFFSETS_TOPIC)?;
        Some(partition_for(group, topic.partitions.len() as i32))
    }

    fn offset_commit(&mut self, asker: Asker, request: OffsetCommitRequest, env: &mut Env<'_>) {
        let shard = self
            .offsets_partition_for(&request.group)
            .and_then(|partition| Some((partition, self.offsets_id(partition)?)));
        let Some((partition, id)) = shard else {
            let response = commit_response(&request, ErrorCode::CoordinatorNotAvailable);
            self.respond(asker, response, env);
            return;
        };
        match self.offsets.commit(asker, partition, request, env) {
            Ok(append) => self.replicas.append_for_coordinator(
                id,
                append.job,
                append.records,
                &self.image,
                env,
            ),
            Err((asker, response)) => self.respond(asker, response, env),
        }
    }

    fn offset_fetch(&mut self, asker: Asker, request: OffsetFetchRequest, env: &mut Env<'_>) {
        let shard = self
            .offsets_partition_for(&request.group)
            .and_then(|partition| Some((partition, self.offsets_id(partition)?)));
        let Some((partition, id)) = shard else {
            let error = ErrorCode::CoordinatorNotAvailable;
            let response = fetch_response(&request.group, error, Vec::new());
            self.respond(asker, response, env);
            return;
        };
        let high_watermark = self.high_watermark(id);
        let answer = self
            .offsets
            .fetch(asker, partition, request, high_watermark, env);
        self.answer_all(answer, env);
    }

    /// A producer without transactional id always gets a new id (`TransactionCoordinator`), from a
    /// block that the controller gave (`RPCProducerIdManager`).
    fn init_producer_id(&mut self, env: &mut Env<'_>) -> Response {
        let (next, end) = self.producer_ids;
        let response = if next < end {
            self.producer_ids.0 += 1;
            env.fact(Fact::ProducerIdAssigned {
                producer_id: next,
                epoch: 0,
            });
            InitProducerIdResponse {
                error: ErrorCode::None,
                producer_id: next,
                producer_epoch: 0,
            }
        } else {
            self.request_producer_ids(env);
            InitProducerIdResponse {
                error: ErrorCode::CoordinatorLoadInProgress,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: -1,
            }
        };
        Response::InitProducerId(response)
    }
}

/// What a broker offers to the clients of this crate. A host that speaks to others offers what it can
/// translate.
const CLIENT_APIS: [ApiKey; 10] = [
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::ApiVersions,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
];

//! What is asked of several partitions, as one request per node, grouped by topic.

use crate::ids::NodeId;
use crate::wire::{Items, push_by_topic};
use smallvec::SmallVec;

/// The request to one node. `K` names topics, `I` is remembered of each partition, `T` is asked.
#[derive(Debug)]
pub(super) struct NodeRequest<K, I, T> {
    pub node: NodeId,
    pub asked: Vec<I>,
    pub topics: Vec<(K, Items<T>)>,
}

/// Requests in the order in which their nodes came up.
#[derive(Debug)]
pub(super) struct ByNode<K, I, T> {
    requests: SmallVec<[NodeRequest<K, I, T>; 2]>,
}

impl<K: Clone + PartialEq, I, T> ByNode<K, I, T> {
    pub(super) fn new() -> Self {
        ByNode {
            requests: SmallVec::new(),
        }
    }

    /// Adds a partition.
    pub(super) fn push(&mut self, node: NodeId, topic: &K, asked: I, question: T) {
        let at = match self.requests.iter().position(|r| r.node == node) {
            Some(at) => at,
            None => {
                self.requests.push(NodeRequest {
                    node,
                    asked: Vec::with_capacity(1),
                    topics: Vec::with_capacity(1),
                });
                self.requests.len() - 1
            }
        };
        let request = &mut self.requests[at];
        request.asked.push(asked);
        push_by_topic(&mut request.topics, topic, question);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The requests, taken out one after the other.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = NodeRequest<K, I, T>> {
        self.requests.drain(..)
    }
}

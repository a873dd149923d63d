//! KIP-951: an answer which says that another leads says who, and where that is.

use crate::controller::MetadataImage;
use crate::ids::*;

/// `KafkaApis.getCurrentLeader`: leader and epoch as this broker knows them, (-1, -1) of a partition that
/// it does not know. A leader that is alive joins the answer's `endpoints`; any other has no address in
/// the metadata (`getAliveBrokerNode`).
#[cold]
#[inline(never)]
pub(super) fn current_leader(
    id: TopicPartition,
    image: &MetadataImage,
    endpoints: &mut Vec<BrokerId>,
) -> (BrokerId, LeaderEpoch) {
    let Some(state) = image.partition(id) else {
        return (NO_BROKER, NO_EPOCH);
    };
    if image.is_unfenced(state.leader) && !endpoints.contains(&state.leader) {
        endpoints.push(state.leader);
    }
    (state.leader, state.leader_epoch)
}

#[cfg(test)]
mod tests {
    use crate::ids::*;
    use crate::test_cluster::{TOPIC, TestCluster};
    use crate::wire::*;
    use smallvec::smallvec;

    type Hint = (ErrorCode, (BrokerId, LeaderEpoch), Vec<BrokerId>);

    fn hint(c: &mut TestCluster, sent: i32) -> Hint {
        c.until("an answer", |c| c.response(sent).is_some());
        match c.response(sent) {
            Some(Response::Produce(r)) => {
                let p = &r.topics[0].1[0];
                (p.error, p.current_leader, r.node_endpoints.clone())
            }
            Some(Response::Fetch(r)) => {
                let p = &r.topics[0].1[0];
                (p.error, p.current_leader, r.node_endpoints.clone())
            }
            other => panic!("{other:?}"),
        }
    }

    fn fetch(c: &mut TestCluster, from: BrokerId) -> Hint {
        let ask = FetchPartition {
            partition: 0,
            current_leader_epoch: 0,
            fetch_offset: 0,
            last_fetched_epoch: NO_EPOCH,
            log_start_offset: -1,
            partition_max_bytes: 1_000,
        };
        let request = FetchRequest {
            replica_id: -1,
            replica_epoch: -1,
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1_000,
            isolation_level: 0,
            topics: vec![(TOPIC, smallvec![ask])],
        };
        let sent = c.send(from, Request::Fetch(request));
        hint(c, sent)
    }

    #[test]
    fn a_former_leader_names_the_new_one_and_where_it_is() {
        let mut c = TestCluster::start(&[], None);
        c.cut_brokers(1, 2);
        c.cut_brokers(1, 3);
        let waiting = c.produce(1, -1, "of nobody else");
        c.run(crate::time::SECONDS);
        assert_eq!(c.answer(waiting), None);
        c.move_leader(2);
        let moved = (2, 1);
        let error = ErrorCode::NotLeaderOrFollower;
        assert_eq!(hint(&mut c, waiting), (error, moved, vec![2]));
        let refused = c.produce(1, -1, "again");
        assert_eq!(hint(&mut c, refused), (error, moved, vec![2]));
        let fenced = ErrorCode::FencedLeaderEpoch;
        assert_eq!(fetch(&mut c, 1), (fenced, moved, vec![2]));
    }

    #[test]
    fn of_a_partition_without_leader_only_the_epoch_is_named() {
        let mut c = TestCluster::start(&[], None);
        c.kill(1);
        c.until("another leader", |c| c.is_led_by(2));
        c.kill(3);
        c.until("a single ISR member", |c| c.state().isr[..] == [2]);
        c.kill(2);
        c.until("no leader", |c| c.state().leader == NO_BROKER);
        c.start_broker(1);
        c.until("it to know", |c| c.has_partition(1));
        let epoch = c.state().leader_epoch;
        c.until("it to be active", |c| c.controller().image().is_active(1));
        let (error, leader, endpoints) = fetch(&mut c, 1);
        assert_eq!(error, ErrorCode::FencedLeaderEpoch);
        assert_eq!((leader, endpoints), ((NO_BROKER, epoch), vec![]));
    }
}

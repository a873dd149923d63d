//! What a broker does with the requests of a connection.

use crate::env::Queue;
use crate::test_cluster::TestCluster;
use crate::time::SECONDS;

#[test]
fn requests_that_arrived_before_the_client_left_are_still_handled() {
    let mut c = TestCluster::start(&[], None);
    c.hold_queue(1, Queue::RequestHandler);
    for value in ["a", "b", "c"] {
        c.produce(1, 0, value);
    }
    c.disconnect(1);
    c.run(SECONDS);
    assert!(c.values(1).is_empty(), "the first waits for a handler");
    c.release();
    c.run(SECONDS);
    assert_eq!(c.values(1), ["a", "b", "c"]);
}

#[test]
fn a_connection_whose_client_left_ends_when_a_response_is_due() {
    let mut c = TestCluster::start(&[], None);
    c.hold_queue(1, Queue::RequestHandler);
    for (acks, value) in [(0, "a"), (1, "b"), (0, "c")] {
        c.produce(1, acks, value);
    }
    c.disconnect(1);
    c.run(SECONDS);
    c.release();
    c.run(SECONDS);
    assert_eq!(c.values(1), ["a", "b"]);
}

"""Real clients against `everyack serve`, with one broker and with three.

Each test has a cluster of its own and says what it pins by its name. Everything that a client was
told is compared, nothing is sampled.
"""

import subprocess
import sys
import time
import traceback

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from server import Server

# How soon a broker is believed to be gone, and so how soon its next process is let in after kill -9.
PROPERTIES = {"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "500"}
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def producer(server, **settings):
    defaults = {"bootstrap.servers": server.bootstrap, "enable.idempotence": True, "linger.ms": 5}
    defaults.update({key.replace("_", "."): value for key, value in settings.items()})
    return Producer(defaults)


def consumer(server, group="by-assign", reset="error"):
    return Consumer(
        {
            "bootstrap.servers": server.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": reset,
            "enable.partition.eof": True,
        }
    )


def admin(server):
    return AdminClient({"bootstrap.servers": server.bootstrap})


def create(server, topic, partitions=3, config=None):
    new = NewTopic(
        topic,
        num_partitions=partitions,
        replication_factor=min(3, server.brokers),
        config=config or {},
    )
    # The handle must outlive its futures.
    handle = admin(server)
    for future in handle.create_topics([new]).values():
        future.result(30)
    await_topic(server, topic, partitions)


def await_topic(server, topic, partitions):
    """Waits until every broker's metadata has leaders for all of them."""
    deadline = time.monotonic() + 30
    handle = admin(server)
    while True:
        metadata = handle.list_topics(timeout=10)
        known = metadata.topics.get(topic)
        if known and len(known.partitions) == partitions:
            if all(p.leader >= 0 for p in known.partitions.values()):
                return metadata
        assert time.monotonic() < deadline, f"{topic} did not come: {known}"
        time.sleep(0.05)


class Reports:
    """Delivery reports: where each message went."""

    def __init__(self):
        self.delivered = {}
        self.errors = []

    def of(self, value):
        def report(error, message):
            if error is not None:
                self.errors.append((value, error))
            else:
                assert value not in self.delivered, f"{value} was reported twice"
                self.delivered[value] = (message.partition(), message.offset())

        return report


def produce(server, topic, values, key=None, headers=None, **settings):
    """Sends the values; all of them are delivered. Answers where to."""
    reports, sender = Reports(), producer(server, **settings)
    for value in values:
        while True:
            try:
                sender.produce(
                    topic,
                    value,
                    key=key(value) if key else None,
                    headers=headers(value) if headers else None,
                    on_delivery=reports.of(value),
                )
                break
            except BufferError:
                sender.poll(0.1)
        sender.poll(0)
    assert sender.flush(60) == 0, "not all were reported"
    assert reports.errors == [], reports.errors[:3]
    assert len(reports.delivered) == len(values)
    return reports.delivered


def consume(server, topic, partitions=3, begin=OFFSET_BEGINNING, first=0, reset="error"):
    """Everything to the end, by assignment. Offsets begin with `first` and have no gaps."""
    reader, messages = consumer(server, reset=reset), []
    reader.assign([TopicPartition(topic, p, begin) for p in range(partitions)])
    ended, deadline = set(), time.monotonic() + 60
    while len(ended) < partitions:
        assert time.monotonic() < deadline, f"{len(messages)} messages, ends of {ended}"
        message = reader.poll(1)
        if message is None:
            continue
        if message.error() is None:
            messages.append(message)
        elif message.error().code() == KafkaError._PARTITION_EOF:
            ended.add(message.partition())
        else:
            raise KafkaException(message.error())
    reader.close()
    for partition in range(partitions):
        offsets = [m.offset() for m in messages if m.partition() == partition]
        expected = list(range(first, first + len(offsets)))
        assert offsets == expected, f"{topic}-{partition}: {offsets[:5]}.."
    return messages


def assert_same(delivered, messages):
    """What was reported as delivered is read where it was reported, and nothing else is."""
    read = {m.value(): (m.partition(), m.offset()) for m in messages}
    assert len(read) == len(messages), "a message was read twice"
    assert read == delivered, f"{len(read)} read, {len(delivered)} delivered"


def kcat(server, *arguments, stdin=None):
    command = ["kcat", "-b", server.bootstrap, "-q", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout.decode()


def numbered(count, text="message"):
    return [f"{text} {n}".encode() for n in range(count)]


# ---- the tests ------------------------------------------------------------------------------


def metadata_tells_brokers_and_topics_to_librdkafka_and_to_kcat(server):
    create(server, "orders")
    metadata = await_topic(server, "orders", 3)
    ends = {f"{b.host}:{b.port}" for b in metadata.brokers.values()}
    assert ends == set(server.bootstrap.split(","))
    assert sorted(metadata.brokers) == list(range(1, server.brokers + 1))
    assert len(metadata.cluster_id) == 22
    replicas = min(3, server.brokers)
    for partition in metadata.topics["orders"].partitions.values():
        assert len(partition.replicas) == replicas and len(partition.isrs) == replicas
        assert partition.leader == partition.replicas[0]
    listed = kcat(server, "-L")
    assert f"{server.brokers} brokers:" in listed and 'topic "orders" with 3 partitions' in listed


def topics_are_created_and_refused_as_kafka_does(server):
    create(server, "orders", config={"min.insync.replicas": "1"})
    handle = admin(server)

    def refused(topic, **settings):
        new = NewTopic(topic, **{"num_partitions": 1, "replication_factor": 1, **settings})
        try:
            handle.create_topics([new])[topic].result(30)
        except KafkaException as error:
            return error.args[0].code()
        raise AssertionError(f"{topic} {settings} was created")

    assert refused("orders") == KafkaError.TOPIC_ALREADY_EXISTS
    assert refused("a/b") == KafkaError.TOPIC_EXCEPTION
    assert refused("new", replication_factor=9) == KafkaError.INVALID_REPLICATION_FACTOR
    assert refused("new", config={"no.such": "1"}) == KafkaError.INVALID_CONFIG
    kept = handle.delete_topics(["orders"])["orders"].exception(30)
    assert kept.args[0].code() == KafkaError.TOPIC_DELETION_DISABLED
    resource = ConfigResource(ConfigResource.Type.TOPIC, "orders")
    configs = handle.describe_configs([resource])[resource].result(30)
    assert configs["min.insync.replicas"].value == "1"
    assert configs["max.message.bytes"].value == "1048588"


def an_idempotent_producer_delivers_thousands_that_are_read_back_in_order(server):
    create(server, "orders")
    values = numbered(20_000)
    delivered = produce(server, "orders", values, acks="all")
    messages = consume(server, "orders")
    assert_same(delivered, messages)
    for partition in range(3):
        read = [int(m.value().split()[1]) for m in messages if m.partition() == partition]
        assert read == sorted(read), f"partition {partition} is out of order"


def keys_headers_and_large_messages_come_through(server):
    create(server, "orders")
    values = [bytes([n % 251]) * (n * 40) + b"%d" % n for n in range(2_000)]
    headers = [("a", b"1"), ("a", b"2"), ("b", b"")]
    delivered = produce(
        server, "orders", values, key=lambda v: v[-3:], headers=lambda v: headers
    )
    messages = consume(server, "orders")
    assert_same(delivered, messages)
    assert all(m.headers() == headers and m.key() == m.value()[-3:] for m in messages)


def batches_of_every_codec_come_through(server):
    for codec in CODECS:
        create(server, f"of-{codec}", partitions=1)
        values = numbered(3_000, f"{codec} " + "x" * 100)
        delivered = produce(server, f"of-{codec}", values, compression_type=codec)
        assert_same(delivered, consume(server, f"of-{codec}", partitions=1))
        lines = kcat(server, "-C", "-t", f"of-{codec}", "-o", "beginning", "-e").splitlines()
        assert lines == [v.decode() for v in values], codec


def kcat_produces_and_consumes(server):
    create(server, "lines", partitions=1)
    lines = [f"line {n}" for n in range(5_000)]
    for acks in ("0", "1", "all"):
        text = "".join(f"{acks} {line}\n" for line in lines)
        kcat(server, "-P", "-t", "lines", "-X", f"acks={acks}", stdin=text.encode())
    kcat(server, "-P", "-t", "lines", "-X", "enable.idempotence=true", "-z", "gzip", stdin=b"end\n")
    read = kcat(server, "-C", "-t", "lines", "-o", "beginning", "-e").splitlines()
    assert sorted(read) == sorted([f"{a} {line}" for a in ("0", "1", "all") for line in lines] + ["end"])


def a_topic_that_does_not_exist_comes_with_its_first_message(server):
    delivered = produce(server, "fresh", numbered(10), topic_metadata_refresh_interval_ms=100)
    assert_same(delivered, consume(server, "fresh", partitions=1))


def offsets_are_found_and_commits_by_assignment_are_kept(server):
    create(server, "orders", partitions=1)
    produce(server, "orders", numbered(100))
    reader = consumer(server, "readers")
    assert reader.get_watermark_offsets(TopicPartition("orders", 0), timeout=30) == (0, 100)
    middle = int(time.time() * 1000) + 1
    time.sleep(0.01)
    produce(server, "orders", numbered(10, "later"))
    found = reader.offsets_for_times([TopicPartition("orders", 0, middle)], timeout=30)
    assert found[0].offset == 100, found
    position = TopicPartition("orders", 0, 42)
    reader.assign([position])
    reader.commit(offsets=[position], asynchronous=False)
    reader.close()
    server.stop()
    server.start()
    reader = consumer(server, "readers")
    committed = reader.committed([TopicPartition("orders", 0)], timeout=30)
    assert committed[0].offset == 42, committed
    reader.close()


def records_are_deleted_up_to_an_offset(server):
    create(server, "orders", partitions=1)
    values = numbered(100)
    produce(server, "orders", values)

    def delete(offset):
        handle = admin(server)
        (deleted,) = handle.delete_records([TopicPartition("orders", 0, offset)]).values()
        return deleted.result(30).low_watermark

    def ends():
        reader = consumer(server)
        found = reader.get_watermark_offsets(TopicPartition("orders", 0), timeout=30)
        reader.close()
        return found

    assert (delete(40), ends()) == (40, (40, 100))
    assert (delete(10), ends()) == (40, (40, 100))
    # From the beginning, and from a position that is gone.
    for begin in (OFFSET_BEGINNING, 10):
        read = consume(server, "orders", 1, begin, first=40, reset="earliest")
        assert [m.value() for m in read] == values[40:]
    try:
        delete(101)
        raise AssertionError("more was deleted than there is")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.OFFSET_OUT_OF_RANGE
    server.stop()
    server.start()
    await_topic(server, "orders", 1)
    assert ends() == (40, 100)
    assert (delete(OFFSET_END), ends()) == (100, (100, 100))
    assert consume(server, "orders", 1) == []
    produce(server, "orders", [b"more"])
    (more,) = consume(server, "orders", 1, first=100)
    assert more.value() == b"more"


def an_orderly_restart_keeps_everything(server):
    create(server, "orders")
    delivered = produce(server, "orders", numbered(5_000))
    server.stop()
    assert ".kafka_cleanshutdown" in server.files(1)
    server.start()
    assert_same(delivered, consume(server, "orders"))
    # The producer ids of before and of after do not meet.
    delivered.update(produce(server, "orders", numbered(5_000, "later")))
    assert_same(delivered, consume(server, "orders"))


def what_was_acknowledged_outlives_kill_9(server):
    create(server, "orders")
    delivered = {}
    for round in range(3):
        values = numbered(3_000, f"round {round}")
        delivered.update(produce(server, "orders", values, acks="all"))
        server.kill()
        assert ".kafka_cleanshutdown" not in server.files(1)
        server.start()
        assert_same(delivered, consume(server, "orders"))


def kill_9_amid_a_produce_loses_nothing_that_was_acknowledged(server):
    create(server, "orders")
    reports, sender = Reports(), producer(server, message_timeout_ms=60_000)
    values = numbered(30_000)
    for n, value in enumerate(values):
        sender.produce("orders", value, on_delivery=reports.of(value))
        if n == 15_000:
            while len(reports.delivered) < 1_000:
                sender.poll(0.1)
            server.kill()
            server.start()
        sender.poll(0)
    assert sender.flush(60) == 0
    assert reports.errors == [], reports.errors[:3]
    # With idempotence nothing is there twice, and the producer goes on where it was.
    assert_same(reports.delivered, consume(server, "orders"))


def transactions_are_refused_at_once(server):
    sender = Producer({"bootstrap.servers": server.bootstrap, "transactional.id": "t"})
    began = time.monotonic()
    try:
        sender.init_transactions(30)
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        assert time.monotonic() - began < 10
        return
    raise AssertionError("transactions began")


TESTS = [
    metadata_tells_brokers_and_topics_to_librdkafka_and_to_kcat,
    topics_are_created_and_refused_as_kafka_does,
    an_idempotent_producer_delivers_thousands_that_are_read_back_in_order,
    keys_headers_and_large_messages_come_through,
    batches_of_every_codec_come_through,
    kcat_produces_and_consumes,
    a_topic_that_does_not_exist_comes_with_its_first_message,
    offsets_are_found_and_commits_by_assignment_are_kept,
    records_are_deleted_up_to_an_offset,
    an_orderly_restart_keeps_everything,
    what_was_acknowledged_outlives_kill_9,
    kill_9_amid_a_produce_loses_nothing_that_was_acknowledged,
    transactions_are_refused_at_once,
]


def main():
    binary, words = sys.argv[1], sys.argv[2:]
    failed = ran = 0
    for brokers in (1, 3):
        for test in TESTS:
            if words and not any(word in test.__name__ for word in words):
                continue
            ran += 1
            began = time.monotonic()
            try:
                with Server(binary, brokers, PROPERTIES) as server:
                    test(server)
                outcome = "ok"
            except Exception:
                traceback.print_exc()
                outcome, failed = "FAILED", failed + 1
            took = time.monotonic() - began
            print(f"{outcome:6} {took:5.1f} s  {brokers} broker(s): {test.__name__}", flush=True)
    if ran == 0:
        sys.exit(f"no test has a name with {' or '.join(words)}")
    print(f"{ran - failed} of {ran} passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

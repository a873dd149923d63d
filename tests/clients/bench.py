"""Produce of 1 KiB messages by librdkafka's own batching, beside a TCP echo of the same bytes.

The echo is what the machine's loopback gives to a process that reads and sends the bytes back, a MiB at
a time: what is produced goes one way only, is checked, and is written to a log.
"""

import multiprocessing
import socket
import sys
import time

from confluent_kafka import Producer

from clients import consume, create
from server import Server

MESSAGES = 200_000
VALUE = b"x" * 1024
CHUNK = 1 << 20
ROUNDS = 3


def echo_server(listener):
    connection, _ = listener.accept()
    buffer = bytearray(CHUNK)
    while read := connection.recv_into(buffer):
        connection.sendall(memoryview(buffer)[:read])


def echo(total):
    """Seconds that the bytes take there and back."""
    listener = socket.create_server(("127.0.0.1", 0))
    child = multiprocessing.Process(target=echo_server, args=(listener,), daemon=True)
    child.start()
    connection = socket.create_connection(listener.getsockname())
    chunk, buffer = b"x" * CHUNK, bytearray(CHUNK)
    began = time.monotonic()
    sent = 0
    while sent < total:
        size = min(CHUNK, total - sent)
        connection.sendall(memoryview(chunk)[:size])
        back = 0
        while back < size:
            back += connection.recv_into(buffer)
        sent += size
    took = time.monotonic() - began
    connection.close()
    child.join(10)
    return took


def produce(server, topic, acks):
    """Seconds until all messages are delivered, and how many were not."""
    failed = 0

    def report(error, _):
        nonlocal failed
        failed += error is not None

    sender = Producer(
        {
            "bootstrap.servers": server.bootstrap,
            "acks": acks,
            "linger.ms": 5,
            "queue.buffering.max.messages": MESSAGES + 1,
            "queue.buffering.max.kbytes": 1 << 20,
        }
    )
    # Connected, and with the metadata there, as a producer is that has run for a while.
    sender.list_topics(topic, timeout=30)
    began = time.monotonic()
    for n in range(MESSAGES):
        sender.produce(topic, VALUE, partition=n % 3, on_delivery=report)
        if n % 1000 == 0:
            sender.poll(0)
    left = sender.flush(120)
    return time.monotonic() - began, failed + left


def main():
    total = MESSAGES * len(VALUE)
    print(f"{MESSAGES} messages of {len(VALUE)} bytes, {ROUNDS} rounds, the best of each")
    rates = []
    for _ in range(ROUNDS):
        rates.append(total / echo(total) / 1e6)
    base = max(rates)
    print(f"{'TCP echo':28} {base:8.0f} MB/s")
    for brokers, acks in ((1, "1"), (1, "all"), (3, "all")):
        rates = []
        with Server(sys.argv[1], brokers) as server:
            for round in range(ROUNDS):
                topic = f"bench-{round}"
                create(server, topic)
                took, failed = produce(server, topic, acks)
                assert failed == 0, f"{failed} messages were not delivered"
                rates.append(total / took / 1e6)
            assert len(consume(server, "bench-0")) == MESSAGES
        rate = max(rates)
        what = f"produce, {brokers} broker(s), acks={acks}"
        per_second = rate * 1e6 / len(VALUE)
        print(f"{what:28} {rate:8.0f} MB/s {per_second:10.0f} messages/s {rate / base:6.0%} of the echo")


if __name__ == "__main__":
    main()

"""`everyack serve` as a child process."""

import os
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time


class Server:
    """A cluster on a folder of its own, which outlives its processes. Use it with `with`."""

    def __init__(self, binary, brokers, properties=None):
        self.binary = binary
        self.brokers = brokers
        self.root = tempfile.mkdtemp(prefix="everyack-clients-")
        self.config = os.path.join(self.root, "server.properties")
        with open(self.config, "w") as file:
            for key, value in (properties or {}).items():
                file.write(f"{key}={value}\n")
        self.log = open(os.path.join(self.root, "serve.log"), "ab")
        self.port = 0
        self.process = None
        self.bootstrap = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        if self.process is not None:
            if kind is None:
                self.stop()
            else:
                self.kill()
        self.log.close()
        if kind is not None:
            with open(self.log.name, errors="replace") as log:
                print("".join("    | " + line for line in log.readlines()[-40:]))
        shutil.rmtree(self.root)

    def start(self):
        """Starts it and waits for its line; the ports are those of its first start."""
        command = [self.binary, "serve", "-v", "--brokers", str(self.brokers)]
        command += ["--port", str(self.port), "--data-dir", os.path.join(self.root, "data")]
        command += ["--config", self.config]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log)
        line = first_line(self.process.stdout, 60)
        assert line.startswith("ready bootstrap="), f"no line of a server that is ready: {line!r}"
        self.bootstrap = line.strip().removeprefix("ready bootstrap=")
        assert len(self.bootstrap.split(",")) == self.brokers, line
        if self.port == 0 and self.brokers == 1:
            self.port = int(self.bootstrap.rsplit(":", 1)[1])
        elif self.port == 0:
            # Others may have the ports behind the first one: from now on three in a row.
            self.stop()
            self.port = free_ports(self.brokers)
            self.start()

    def stop(self):
        """SIGTERM; it ends in order."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.process = None
        assert status == 0, f"it ended with {status}"

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait(60)
        self.process = None

    def dirs(self):
        return sorted(os.listdir(os.path.join(self.root, "data")))

    def files(self, broker):
        return os.listdir(os.path.join(self.root, "data", f"broker-{broker}"))


def first_line(pipe, seconds):
    """The first line of a pipe, or what there is of it when the time is over or the pipe ends."""
    selector = selectors.DefaultSelector()
    selector.register(pipe, selectors.EVENT_READ)
    deadline = time.monotonic() + seconds
    line = b""
    while not line.endswith(b"\n") and time.monotonic() < deadline:
        if selector.select(timeout=deadline - time.monotonic()):
            byte = os.read(pipe.fileno(), 1)
            if not byte:
                break
            line += byte
    return line.decode()


def free_ports(number):
    """The first of so many ports in a row that are free now."""
    for first in range(20000, 32000, number):
        sockets = []
        try:
            for port in range(first, first + number):
                sockets.append(socket.create_server(("127.0.0.1", port)))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")

"""A TCP relay that passes bytes on slowly, as a slow line would."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def slow_relay(port: int, bytes_per_s: float) -> Iterator[int]:
    """Relay to a port on loopback; gives the port it listens on."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_sockets = [listener]

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            # Small buffers, else the kernel takes a whole upload at once and the line seems quick.
            near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            open_sockets.extend((near, far))
            for source, target, rate in ((near, far, bytes_per_s), (far, near, None)):
                threading.Thread(target=_pass_on, args=(source, target, rate), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        for each in open_sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        thread.join(5)


def _pass_on(source: socket.socket, target: socket.socket, bytes_per_s: float | None) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            if bytes_per_s is not None:
                time.sleep(len(data) / bytes_per_s)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

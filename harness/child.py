"""Child processes: start one, send it commands with a deadline, stop it from any thread, and learn how it ended.

`Child` is the owner's side. `Server` is the side of the process: it runs commands from a table. They exchange messages over a
socket that the process gets as its standard input; printed text never reaches the socket. A process ends with its owner, even
if a signal ends the owner.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from registry.errors import CrucibleError
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType
    from typing import IO

__all__ = ["Child", "CommandFailed", "Ended", "Hung", "Server", "Stopped", "describe_end", "end_with_parent"]

PACKET = 1 << 16  # bytes; a longer message is sent in several packets
LAST, MORE = b".", b"+"  # the first byte of a packet
PR_SET_PDEATHSIG = 1
SHORTEST_WAIT_S = 1e-3  # a socket with a limit of 0 would not wait at all
EXIT_S = 10.0  # for a process that has closed its socket to end
STARTER = ThreadPoolExecutor(1, "starts processes")  # a process ends with the thread that started it: this one ends last


class CommandFailed(CrucibleError):  # noqa: N818 (an outcome of a command)
    """The command raised an exception; the message has its type and its text in one line."""


class Ended(CrucibleError):  # noqa: N818 (an outcome of a command)
    """The process ended with an exit code, negative for a signal. The message is a predicate: "was ended by SIGKILL"."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Hung(CrucibleError):  # noqa: N818 (an outcome of a command)
    """The process sent no reply in time. The message is a predicate: "sent no reply within 30 s"."""


class Stopped(BaseException):
    """The owner has stopped the process from another thread; the command has no result."""


def describe_end(code: int) -> str:
    """Return how a process ended, as a predicate."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def end_with_parent() -> None:
    """Let the system end this process by SIGKILL when the thread that started it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


class _Channel:
    """Messages over a socket that keeps packets apart, encoded by the module `json`, or `pickle` between trusted processes."""

    def __init__(self, talk: socket.socket, encoding: ModuleType) -> None:
        self.talk, self._encoding = talk, encoding
        self._packet = memoryview(bytearray(PACKET + 1))

    def _limit(self, deadline: float | None) -> None:
        if deadline is not None:
            self.talk.settimeout(max(deadline - time.monotonic(), SHORTEST_WAIT_S))
        elif self.talk.gettimeout() is not None:
            self.talk.settimeout(None)

    def send(self, message: object, deadline: float | None = None) -> None:
        """Send a message; raise `OSError` if the other side has ended, `TimeoutError` if it does not read in time."""
        text: str | bytes = self._encoding.dumps(message)
        data = memoryview(text.encode() if isinstance(text, str) else text)
        while len(data) > PACKET:
            self._limit(deadline)
            self.talk.send(MORE + data[:PACKET])
            data = data[PACKET:]
        self.talk.send(LAST + data)  # the buffer of the socket has room for a single packet

    def receive(self, deadline: float | None = None) -> Any:  # noqa: ANN401 (any message)
        """Return a message; raise `OSError` or `EOFError` if the other side has ended, `TimeoutError` after the deadline."""
        message = bytearray()
        while True:
            self._limit(deadline)
            size = self.talk.recv_into(self._packet)
            if not size:
                raise EOFError
            message += self._packet[1:size]
            if self._packet[0] == LAST[0]:
                return self._encoding.loads(message)


class Server:
    """The side of the process: it takes the socket from standard input, and ends with its owner."""

    def __init__(self, encoding: ModuleType = json) -> None:
        end_with_parent()
        try:
            talk = socket.socket(fileno=os.dup(0))
            if talk.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":  # the owner ended before the call of prctl
                sys.exit()
        except BlockingIOError:
            pass  # the owner has sent no command yet
        except OSError:
            sys.exit("error: this module is started by another process, which sends it commands over a socket")
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        self._channel, self._request = _Channel(talk, encoding), ""

    def reply(self, result: object) -> None:
        """Reply to the request that is being served."""
        self._channel.send([self._request, "result", result])

    def serve(self, **commands: Callable[..., object]) -> None:
        """Run the commands that the owner sends, each with its keyword arguments, until the owner closes the socket."""
        with suppress(EOFError, OSError):
            while True:
                request, name, arguments = self._channel.receive()
                self._request = request
                try:
                    reply = [request, "result", commands[name](**arguments)]
                except Exception as error:  # noqa: BLE001 (raised again by the owner)
                    reply = [request, "error", " ".join(f"{type(error).__name__}: {error}".split())]
                self._channel.send(reply)


class Child:
    """The owner's side: one process, started by the first command, and again by the next command after an error.

    The process leads a new process group. Ctrl-C therefore reaches only the owner, which ends the whole group.

    Parameters
    ----------
    module : str
        The Python module to run. It calls `Server.serve`.
    words : sequence of str
        Its command line.
    root : Path
        The working folder.
    environment : mapping of str to str
        Environment variables in addition to the variables of this process.
    output : int or file
        The destination of all text that the process prints. Default: the standard error of this process.
    inherited : sequence of int
        File descriptors that the process inherits.
    encoding : module
        `json`, or `pickle` for a process that runs no code of a variant.
    """

    def __init__(
        self,
        module: str,
        words: Sequence[str] = (),
        *,
        root: Path = ROOT,
        environment: Mapping[str, str] | None = None,
        output: int | IO[bytes] = 2,
        inherited: Sequence[int] = (),
        encoding: ModuleType = json,
    ) -> None:
        self.command = [sys.executable, "-u", "-m", module, *words]
        self.process: subprocess.Popen[bytes] | None = None
        self._root, self._environment, self._output = root, environment or {}, output
        self._inherited, self._encoding = inherited, encoding
        self._channel: _Channel | None = None
        self._lock, self._stopped = Lock(), False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self) -> None:
        """Raise `Stopped` if the owner has stopped the process from another thread."""
        if self._stopped:
            raise Stopped

    def start(self) -> None:
        """Start the process unless it has been started; do not wait for it."""
        with self._lock:
            self.check()
            if self._channel is not None:
                return
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                start = STARTER.submit(
                    lambda: subprocess.Popen(
                        self.command,
                        cwd=self._root,
                        env={**os.environ, **self._environment},
                        stdin=theirs.fileno(),
                        stdout=self._output,
                        stderr=subprocess.STDOUT,
                        pass_fds=self._inherited,
                        process_group=0,
                    )
                )
                self.process = start.result()
            self._channel = _Channel(ours, self._encoding)

    def ask(self, command: str, seconds: float | None = None, /, **arguments: Any) -> Any:  # noqa: ANN401 (any result)
        """Run a command in the process and return its result.

        A process that has not read the command after `seconds`, or sends no reply within as many, is ended.

        Raises
        ------
        CommandFailed
            The command raised an exception.
        Ended, Hung, Stopped
            The process sent no reply.
        """
        self.start()
        try:
            return self.receive(seconds, self.send(seconds, command, **arguments))[1]
        except Hung:
            self.kill()
            raise

    def send(self, seconds: float | None, command: str, /, **arguments: Any) -> str:
        """Send a command and return the name of the request, for `receive`, which reports a process that has ended."""
        request = os.urandom(8).hex()  # the process cannot guess it, and so cannot reply before it has read the request
        try:
            if self._channel is not None:
                self._channel.send([request, command, arguments], _deadline(seconds))
        except TimeoutError:
            raise Hung(f"read no command within {seconds:g} s") from None
        except OSError:
            pass
        return request

    def receive(self, seconds: float | None, *requests: str) -> tuple[str, Any]:
        """Return the reply to one of some requests, and the request; raise as `ask`, but leave a process that hangs."""
        if self._channel is None:
            raise Ended("has not started", 0)
        try:
            request, kind, value = self._channel.receive(_deadline(seconds))
        except TimeoutError:
            raise Hung(f"sent no reply within {seconds:g} s") from None
        except (EOFError, OSError):
            self.check()
            code = self.wait(EXIT_S)
            raise Ended(describe_end(code), code) from None
        except (ValueError, TypeError):
            request, kind, value = "", "", None
        self.check()
        if request not in requests:
            self.kill()
            raise Ended("sent a message that is no reply", -signal.SIGKILL)
        if kind == "error":
            raise CommandFailed(value)
        return request, value

    def wait(self, seconds: float | None = None) -> int:
        """Wait until the process ends, end it after `seconds`, and return its exit code; a negative number is a signal."""
        if self.process is None:
            return 0
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """End the process and all processes that it started, and wait for its end; the next command starts it again."""
        self._signal()
        if self.process is not None:
            self.process.wait()
        if self._channel is not None:
            self._channel.talk.close()
            self._channel = None

    def _signal(self) -> None:
        if self.process is not None and self._channel is not None:  # afterwards the system may give its id to another
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the process from any thread; a thread that waits for a reply gets `Stopped`, and so does every later command."""
        with self._lock:
            self._stopped = True
            self._signal()

    def close(self, seconds: float = 0.0) -> None:
        """Stop the process and wait for its end. For some `seconds`, it may end by itself after it has lost its socket."""
        if seconds and self.process is not None and self._channel is not None:
            self._channel.talk.close()
            self.wait(seconds)
        self.stop()
        self.kill()

"""The state of the process around training: threads, determinism, chance, Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch


@contextmanager
def training_conditions(device: torch.device, threads: int) -> Iterator[int]:
    """Set threads and determinism for the time of training, and leave chance as it was found.

    Deterministic algorithms are asked for on the CPU only, where they cost nothing; some of
    CUDA's are slow or missing.
    Yields:
        The number of threads in use; results are the same to the bit for the same number only.
    """
    old_threads = torch.get_num_threads()
    old_choice = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    old_fill = memory.fill_uninitialized_memory
    old_search = torch.backends.cudnn.benchmark
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            if threads:
                torch.set_num_threads(threads)
            if device.type == "cpu":
                torch.use_deterministic_algorithms(True)
                memory.fill_uninitialized_memory = False
            else:
                torch.backends.cudnn.benchmark = True  # shapes never change: search once
            yield torch.get_num_threads()
        finally:
            torch.set_num_threads(old_threads)
            torch.use_deterministic_algorithms(old_choice)
            memory.fill_uninitialized_memory = old_fill
            torch.backends.cudnn.benchmark = old_search


class Interrupt:
    """Ctrl-C, or a scheduler's SIGTERM, asks to stop after this step; Ctrl-C again stops at once.

    A signal that the process was told to ignore stays ignored. A process among several may be asked
    in another way, too: see `listen_to`.
    """

    def __init__(self) -> None:
        self._signalled = False
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether to stop after this step."""
        return self._signalled or any(asked() for asked in _elsewhere)

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._signalled and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signalled = True


def listen_to(asked: Callable[[], bool]) -> None:
    """Let every training of this process stop after its step, too, once `asked` says so."""
    _elsewhere.append(asked)


_elsewhere: list[Callable[[], bool]] = []

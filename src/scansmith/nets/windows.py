"""A volume larger than memory, drawn by overlapping windows whose seams do not show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

Part = tuple[float, float]
"""Where along an axis of a window something begins and ends, in shares of the window."""


def by_windows(
    network: nn.Module,
    draw: Callable[[Tensor], Tensor],
    volume: Tensor,
    window: Sequence[int],
    overlap: float,
) -> Tensor:
    """What `draw` makes of overlapping windows, blended by Gaussian weights.

    An instance norm would take its statistics from a window, and windows would differ in tone as
    their contents do. So statistics of the whole volume are gathered first, norm by norm in the
    order in which they are run, each with those before it settled: about half as many further
    passes as there are norms.

    Args:
        network: what `draw` runs; its instance norms are the ones that share.
        volume: (B, C, *S); `draw` is handed windows of it, (1, C, *window).
        overlap: share of a window that the next one covers.
    """
    from monai.inferers import SlidingWindowInferer  # takes seconds to import

    inferer = SlidingWindowInferer(
        roi_size=tuple(window), sw_batch_size=1, overlap=overlap, mode="gaussian"
    )
    made = []
    for one in volume.split(1):
        with settled_norms(network, draw, one, window):
            made.append(inferer(one, draw))
    return torch.cat(made)


@contextmanager
def settled_norms(
    network: nn.Module, draw: Callable[[Tensor], Tensor], one: Tensor, window: Sequence[int]
) -> Iterator[None]:
    """Give a network's instance norms, while it lasts, the statistics of a whole volume.

    Args:
        one: (1, C, *S).
    """
    with ExitStack() as settled:
        for norm in [m for m in network.modules() if isinstance(m, _InstanceNorm)]:
            gathered = _Gathered(norm)
            for cut, core in cores(one.shape[2:], window):
                with gathered.watching(core), suppress(_Enough):
                    draw(one[(slice(None), slice(None), *cut)])
            settled.enter_context(gathered.shared())
        yield


def cores(
    size: Sequence[int], window: Sequence[int]
) -> Iterator[tuple[tuple[slice, ...], tuple[Part, ...]]]:
    """Windows whose inner halves cover a volume once, and where in its window each half lies.

    A window that would stick out is moved inside; a volume smaller than a window is taken whole.
    """
    axes = []
    for n, wide in zip(size, window, strict=True):
        w = min(n, wide)
        core = max(1, w // 2) if n > w else n
        along = []
        for begin in range(0, n, core):
            end = min(begin + core, n)
            start = min(max(begin - (w - core) // 2, 0), n - w)
            along.append((slice(start, start + w), ((begin - start) / w, (end - start) / w)))
        axes.append(along)
    for combination in product(*axes):
        yield tuple(cut for cut, _ in combination), tuple(part for _, part in combination)


class _Enough(Exception):
    """The rest of a pass is not needed."""


class _Gathered:
    """What an instance norm was shown, for each channel."""

    def __init__(self, norm: _InstanceNorm):
        self.norm = norm
        self.count = 0
        self.values = self.squares = torch.zeros((), dtype=torch.float64)

    @contextmanager
    def watching(self, core: Sequence[Part]) -> Iterator[None]:
        """Add what the norm is shown inside `core`, and end the pass there."""

        def look(norm: nn.Module, inputs: tuple[Tensor]) -> None:
            self.add(inputs[0], core)
            raise _Enough

        hook = self.norm.register_forward_pre_hook(look)
        try:
            yield
        finally:
            hook.remove()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Let the norm use what was gathered instead of what each call shows it."""
        hook = self.norm.register_forward_hook(lambda norm, inputs, _: self.normalised(inputs[0]))
        try:
            yield
        finally:
            hook.remove()

    def add(self, x: Tensor, core: Sequence[Part]) -> None:
        """Count the voxels of `core`."""
        for axis, (n, (begin, end)) in enumerate(zip(x.shape[2:], core, strict=True), start=2):
            first = min(round(begin * n), n - 1)
            x = x.narrow(axis, first, max(round(end * n) - first, 1))
        variance, mean = torch.var_mean(x.float(), (0, *range(2, x.ndim)), correction=0)
        mean, variance = mean.double().cpu(), variance.double().cpu()
        number = x[:, 0].numel()
        self.count += number
        self.values = self.values + number * mean
        self.squares = self.squares + number * (variance + mean**2)

    def normalised(self, x: Tensor) -> Tensor:
        """The norm with the statistics of all that was counted."""
        mean = self.values / self.count
        variance = (self.squares / self.count - mean**2).clamp(min=0)
        norm, device = self.norm, x.device
        return F.batch_norm(
            x,
            mean.float().to(device),
            variance.float().to(device),
            norm.weight,
            norm.bias,
            eps=norm.eps,
        )

"""One step of a network with a memory, in single precision: what torch computes for a whole sequence, row by row.

Weights lie transposed (inputs first), so that the inner loops run over neighbouring outputs and need no sums.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.core.jit import inlined, kernel

Floats = npt.NDArray[np.float32]


@inlined
def _sigmoid(value: np.float32) -> np.float32:
    return np.float32(1.0) / np.float32(np.float32(1.0) + np.exp(-value))


@inlined
def _add_product(x: Floats, weight: Floats, out: Floats) -> None:
    """Add the product of a row and a matrix (inputs first)."""
    for j in range(x.shape[0]):
        value = x[j]
        for i in range(out.shape[0]):
            out[i] += value * weight[j, i]


@kernel
def lstm_step(
    x: Floats, weight: Floats, again: Floats, bias: Floats, before: Floats, gates: Floats, after: Floats
) -> None:
    """One LSTM layer's step from the state ``before`` (row 0 the output, row 1 the cell) to ``after``.

    The gates are in torch's order: input, forget, cell, output (documentation of ``torch.nn.LSTM``).
    """
    size = before.shape[1]
    gates[:] = bias
    _add_product(x, weight, gates)
    _add_product(before[0], again, gates)
    for i in range(size):
        enters, stays = _sigmoid(gates[i]), _sigmoid(gates[size + i])
        proposed, shown = np.tanh(gates[2 * size + i]), _sigmoid(gates[3 * size + i])
        cell = stays * before[1, i] + enters * proposed
        after[1, i] = cell
        after[0, i] = shown * np.tanh(cell)


@kernel
def conv_step(x: Floats, weight: Floats, bias: Floats, ring: Floats, at: int, dilation: int, out: Floats) -> None:
    """One causal, dilated convolution's step, with SiLU; a layer of equal sizes adds its input.

    ``weight`` is (taps, inputs, outputs), the newest tap last; ``ring`` holds the layer's past inputs, the next one to
    be overwritten at ``at``. A ring of zeros is a past without news.
    """
    taps, reach = weight.shape[0], ring.shape[0]
    out[:] = bias
    for tap in range(taps - 1):
        back = (taps - 1 - tap) * dilation
        _add_product(ring[(at - back) % reach], weight[tap], out)
    _add_product(x, weight[taps - 1], out)
    for i in range(out.shape[0]):
        value = out[i] * _sigmoid(out[i])
        out[i] = value + x[i] if x.shape[0] == out.shape[0] else value


@kernel
def readout(top: Floats, x: Floats, weight: Floats, skip: Floats, bias: Floats, scale: Floats, out: Floats) -> None:
    """The answers, in bps: linear in what the network made of the row, and in the row itself."""
    out[:] = bias
    _add_product(top, weight, out)
    _add_product(x, skip, out)
    for i in range(out.shape[0]):
        out[i] *= scale[i]

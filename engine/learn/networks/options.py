"""The own settings of networks: what may be said in ``[model.options]`` about their training and their shape."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]
AtLeast1 = Annotated[int, msgspec.Meta(ge=1)]


class TrainingOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a network is trained. The loss is in root mean squares of the label, the gradient's norm is bounded."""

    loss: Literal["huber", "squared"] = "huber"
    huber_delta: Positive = 1.0
    dropout: Share = 0.0
    weight_decay: Annotated[float, msgspec.Meta(ge=0.0)] = 0.01
    gradient_norm: Positive = 1.0
    schedule: Literal["constant", "cosine"] = "constant"


class MlpOptions(TrainingOptions, frozen=True, forbid_unknown_fields=True):
    """``skip``: equal layers add to their input, and a straight line leads from the features to the answer.

    ``warm_start``: a training begins from the weights that answer now. ``anchor`` holds what mattered to them near
    where it was (elastic weight consolidation), the firmer the larger.
    """

    skip: bool = True
    warm_start: bool = False
    anchor: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0


class SequenceOptions(TrainingOptions, frozen=True, forbid_unknown_fields=True):
    """``steps`` rows make a lesson; its first ``burn_in`` only fill the memory. ``prime`` rows re-fill it at a swap."""

    steps: AtLeast1 = 64
    burn_in: Annotated[int, msgspec.Meta(ge=0)] = 16
    prime: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 256


class ConvOptions(SequenceOptions, frozen=True, forbid_unknown_fields=True):
    """Each layer sees ``taps`` rows, twice as far apart as the layer before; of a single size ``layers`` are made."""

    taps: Annotated[int, msgspec.Meta(ge=2, le=8)] = 2
    layers: Annotated[int, msgspec.Meta(ge=1, le=10)] = 5

"""The network that was decided on, timed at input sizes and in two precisions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from keras_retinanet.config.schema import Config
from keras_retinanet.errors import UserError
from keras_retinanet.geometry.tiling import Tiling
from keras_retinanet.training.planning.decision import Decision, config_of, with_given
from keras_retinanet.training.planning.input_size import InputSize, policy_of
from keras_retinanet.training.planning.step_trial import StepTimes

# Between these two, a step's time is taken to be a straight line over its pixels.
PROBES = (224, 384)
# Float32 has to save this share of a step's time: less may be chance.
WORTH_SAVING = 0.05

# Settings that say how images enter the network.
_OF_INPUT = ("image.resize", "image.size", "image.max_size", "image.tile")


@dataclass(frozen=True)
class TimedNetwork:
    """Times a training's steps at an input size.

    Attributes:
        time_steps: times a config's steps on the data set.
        decided: what was decided before the input size.
        given: settings in place of decisions.
        resize: how images are resized where they are not cut into tiles.
        cache: decides at an input size whether images are kept decoded.
    """

    time_steps: Callable[[Config], StepTimes]
    decided: Sequence[Decision]
    given: dict[str, Any]
    resize: str
    cache: Callable[[InputSize], list[Decision]]

    def __call__(self, size: InputSize) -> StepTimes:
        policy = size.policy
        more = {"image.resize": policy.resize, "image.size": policy.size}
        more["image.max_size"] = policy.max_size
        if size.tiling is not None:
            more["image.tile"] = {"size": size.tiling.size, "overlap": size.tiling.overlap}
        found = [Decision(key, value, "") for key, value in more.items()] + self.cache(size)
        others = {key: value for key, value in self.given.items() if key not in _OF_INPUT}
        return self.time_steps(config_of(with_given([*self.decided, *found], others)))

    @property
    def batch_size(self) -> int:
        decided = self._decision("training.batch_size").value
        return int(self.given.get("training.batch_size", decided))

    def whole(self, size: int) -> InputSize:
        """Return the input size of images that are not cut into tiles."""
        return InputSize(policy_of(size, resize=self.resize))

    def given_size(self) -> InputSize | None:
        """Return the input size that was given, if a size or tiles were."""
        tile, size = self.given.get("image.tile") or {}, self.given.get("image.size")
        if size is None and not tile:
            return None
        tiling = Tiling(**tile) if tile else None
        resize = self.given.get("image.resize", "square" if tile else self.resize)
        policy = policy_of(size or -(-tile["size"] // 32) * 32, resize=resize)
        policy = replace(policy, max_size=self.given.get("image.max_size", policy.max_size))
        return InputSize(policy, tiling)

    def in_quickest_precision(self) -> "TimedNetwork":
        """Return it in float32 where that is faster than the precision of the matrix units.

        Not every network gains from those: a step of EfficientNet-Lite0 took 0.41 s in float32 and
        0.57 s in bfloat16 on 2 cores with AMX.
        """
        reduced = self._decision("model.precision")
        if "model.precision" in self.given or reduced.value == "float32":
            return self
        size = self.whole(max(PROBES))
        plain = self._in_precision(Decision("model.precision", "float32", ""))
        seconds = self(size).step
        try:
            plain_seconds = plain(size).step
        except UserError as error:  # float32 takes twice the memory
            why = f"{reduced.reason}; in float32, {error}"
            return self._in_precision(replace(reduced, reason=why))
        timed = (
            f"a step at {size.policy.size} px takes {seconds:.2f} s, and {plain_seconds:.2f} s in "
            "float32"
        )
        if plain_seconds > (1 - WORTH_SAVING) * seconds:
            return self._in_precision(replace(reduced, reason=f"{reduced.reason}: {timed}"))
        why = f"{reduced.reason}, but in {reduced.value} {timed}"
        return self._in_precision(Decision("model.precision", "float32", why))

    def _in_precision(self, precision: Decision) -> "TimedNetwork":
        others = [d if d.key != precision.key else precision for d in self.decided]
        return replace(self, decided=others)

    def _decision(self, key: str) -> Decision:
        (decision,) = [d for d in self.decided if d.key == key]
        return decision

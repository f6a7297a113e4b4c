"""How a job joins the two scores: by a number, by a file of `rrarank.tune`, or by the rule that the model carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rrarank.engine import registry
from rrarank.engine.blocks import RerankConfig
from rrarank.engine.first_stage import kind_of
from rrarank.engine.interpolation import LEARNED, Interpolation, say_weight
from rrarank.engine.interpolation_files import Stored, check_reranker, read_interpolation, rule_over_learned
from rrarank.errors import RrarankError, say
from rrarank.storage.model_folders import interpolation_of
from rrarank.storage.sidecar import sidecar_path

AUTO = "auto"
WITHOUT_RULE = 0.5
"""The weight of `auto` for a model that carries no rule: near the best over dense and learned-sparse first stages, too
low over BM25 (docs/results/interpolation.md)."""


@dataclass(frozen=True)
class Weights:
    """What a job was told of interpolation, with the file that says more.

    Args:
        path: a file of `rrarank.tune` or of the model; None: the job's own numbers.
        stored: its content.
    """

    path: Path | None = None
    stored: Stored | None = None

    def settle(self, config: RerankConfig, reranker: str) -> RerankConfig:
        """The job's settings with those of the file."""
        if self.stored is None:
            return config
        check_reranker(self.stored, str(self.path), reranker)
        return replace(config, interpolation=self.stored.interpolation())

    def check_loaded(self, reranker: str, fingerprint: str) -> None:
        """Refuse a file that was made for other files of the model."""
        if self.stored is not None:
            check_reranker(self.stored, str(self.path), reranker, fingerprint)


def read_weights(asked: str | Path, norm: str, reranker: str, settings: Mapping[str, object]) -> Weights:
    """The file that the job's weight is in.

    Args:
        asked: `auto`, a file, or empty: the job's own numbers.
        norm: what the job says of normalisation; empty: nothing.

    Raises:
        RrarankError: the file is none, or made for another norm or reranker.
    """
    if not asked:
        return Weights()
    path = carried_by(reranker, settings) if asked == AUTO else Path(asked)
    if path is None:
        say(f"--interpolate auto: this model carries no rule; using {WITHOUT_RULE}")
        return Weights(None, Stored("", WITHOUT_RULE, norm or Interpolation.norm))
    return Weights(path, _checked(path, read_interpolation(path), norm))


def default_weights(
    run: str | Path | None, tag: str, norm: str, reranker: str, settings: Mapping[str, object]
) -> Weights:
    """What counts for a job that was told nothing: over a dense or learned-sparse first stage, the model's own rule.

    Args:
        run: its file; None: it has none.
        tag: of the run. If nothing says what the first stage is, a line says what to do.
        norm: as in `read_weights`.
    """
    kind = kind_of(run, tag)
    is_foreign = not kind and not (run and sidecar_path(run).is_file())
    if kind != LEARNED and not is_foreign:
        return Weights()
    model = registry.configure(reranker, **settings).model
    found = rule_over_learned(registry.find_reranker(reranker), model)
    if found is None:
        return Weights()
    if is_foreign:
        say(
            f"the tag {tag!r} does not say what the first stage is; if it is dense or learned-sparse, give "
            f"--interpolate {found.learned:g}"
        )
        return Weights()
    return Weights(found.path, _checked(found.path, found.stored, norm))


def _checked(path: Path, stored: Stored, norm: str) -> Stored:
    if norm and norm != stored.norm:
        raise RrarankError(
            f"{path}: chosen for scores normalised by {stored.norm}, not by {norm}; leave --norm out, or give a weight"
        )
    return stored


def carried_by(reranker: str, settings: Mapping[str, object]) -> Path | None:
    """The file of the model's own rule, if it carries one."""
    kind = registry.find_reranker(reranker)
    model = registry.configure(reranker, **settings).model
    return interpolation_of(model) if kind.model_is_files else None


def with_kind(config: RerankConfig, path: str | Path | None, tag: str, *, is_part: bool = False) -> RerankConfig:
    """The settings with the kind of the first stage, where a rule may decide by it, and a line that says the weight.

    Args:
        path: the run's file; None: it has none.
        tag: of the run.
        is_part: whether the job re-ranks only some of the queries.

    Raises:
        RrarankError: the rule needs the scores of all queries, and the job has only some.
    """
    if (rule := config.joining.rule) is None:
        return config
    how = replace(config.joining, first_stage=kind_of(path, tag))
    if how.needs_agreement:
        if is_part:
            raise RrarankError("--shard: this rule of --interpolate needs the scores of all queries; give a weight")
        where = f"if the two rankings agree by {rule.threshold:g} or more, else {rule.differing:g}"
        say(f"--interpolate auto: the reranker's weight will be {rule.agreeing:g} {where}")
    else:
        say_weight(how, "--interpolate 1")
    return replace(config, interpolation=how)


def describe_config(config: RerankConfig, used: Interpolation) -> dict[str, object]:
    """The settings for the sidecar, with the weight that was used, and the rule if one gave it."""
    found = asdict(replace(config, interpolation=config.joining))
    found["interpolation"]["weight"] = used.weight
    if config.joining.rule is None:
        del found["interpolation"]["rule"], found["interpolation"]["first_stage"]
    return found

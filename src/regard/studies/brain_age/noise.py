"""The noise of the study's maps, and the noise model that learns them over the training cohort."""

from regard.explainers.spec import MethodSpec, parse_methods
from regard.models import Model
from regard.studies.brain_age.cohort import Cohort, prepared
from regard.studies.brain_age.config import BrainAgeConfig
from regard.studies.brain_age.networks import age_target, predicted
from regard.studies.run import StudyRun
from regard.studies.trained import seed_of
from regard.training.noise import fit_noise
from regard.training.noising import NoiseSettings

__all__ = ["LEARNED", "methods_of", "noise_knobs", "train_noise"]

LEARNED = "noise-map-learned"
"""Label of the maps that the noise model makes."""

_FOLDER = "noise"


def _settings(config: BrainAgeConfig) -> NoiseSettings:
    plan = config.train.noise
    return NoiseSettings(plan.family, 0.0, plan.s_max, scales=tuple(float(s) for s in plan.scales))


def train_noise(run: StudyRun, config: BrainAgeConfig, learn: Cohort, model: Model) -> str | None:
    """Train the noise model of a network, or find it; its folder, or None where the size has none."""
    plan = config.train.noise
    if not plan.zoo:
        return None
    done = run.find(f"models/{_FOLDER}/noise.yaml")
    if done is not None:
        return str(done.parent)
    folder = run.path / "models" / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    network, some = model.network, learn.of(range(min(plan.n_cases, len(learn))))
    made = fit_noise(
        network,
        prepared(some.images),
        _settings(config),
        zoo=plan.zoo,
        target=age_target(model),
        strength=plan.strength,
        spread=spread_of(model, learn),
        n_epochs=plan.n_epochs,
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate,
        cases=some.cases,
        seed=seed_of(run, _FOLDER),
        accelerator=run.device.partition(":")[0],
        checkpoint=folder / "checkpoint.ckpt",
    )
    made.save(folder, name="brain-age-noise", licence="Apache-2.0")
    (folder / "checkpoint.ckpt").unlink(missing_ok=True)
    return str(folder)


def spread_of(model: Model, learn: Cohort) -> float:
    """Standard deviation of the predictions over the training cohort [year]; 1 where they are all the same."""
    spread = float(predicted(model, learn.images).std())
    return spread if spread > 0 else 1.0


def noise_knobs(config: BrainAgeConfig, spread: float) -> dict[str, object]:
    """Settings of maps that are found image by image: the noise and the lambda of the learned ones."""
    plan = config.train.noise
    return {
        "family": plan.family,
        "strength": plan.strength,
        "s_max": plan.s_max,
        "scales": plan.scales,
        "spread": round(spread, 6),
    }


def methods_of(config: BrainAgeConfig, spread: float, learned: str | None) -> list[MethodSpec]:
    """The methods, each with all its knobs; the learned noise map comes first."""
    own = noise_knobs(config, spread)
    specs = [] if learned is None else [MethodSpec("noise-map", {"model": learned}, LEARNED)]
    for spec in parse_methods(config.explain.methods):
        knobs = {**own, **spec.knobs} if spec.name == "noise-map" else spec.knobs
        specs.append(MethodSpec(spec.name, knobs, spec.label))
    return specs

"""What is said of a machine: numbers that were put in come out, and words follow from them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from devices.measurement import Sample, Turn
from devices.stability import Stability, stability
from devices.workload import Workload

OWN = Workload()
LONG = Workload(1, 300)


def measured(drift: float = 0.0, jitter: float = 0.0, speeds: tuple[float, ...] = (1.0, 1.0, 1.0)) -> list[Sample]:
    """A reference and a model over three interleaved processes of 200 rounds."""
    rng, samples = np.random.default_rng(0), []
    for number in range(200):
        for process, speed in enumerate(speeds):
            at = float(3 * number + process)
            slowness = speed * (1 + drift * number / 199)
            noise = 1 + jitter * rng.standard_normal(2)
            samples.append(Sample("reference", OWN, process, number, 4.0 * slowness * noise[0], at))
            samples.append(Sample("model", LONG, process, number, 9.0 * slowness * noise[1], at + 0.5))
    return samples


def turn(**changed: float) -> Turn:
    return Turn(**{**Turn(0, 0.0, 10.0, 20, 0, 0.0, 0.0).to_json(), **changed})


def test_a_quiet_machine_is_steady() -> None:
    found = stability(measured(jitter=0.005), "reference", [turn()])
    assert found.state == "steady" and found.words.startswith("steady: over 10.0 minutes")
    assert "nothing was disturbed" in found.words
    assert found.jitter_percent == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize(
    ("samples", "field", "percent", "state"),
    [
        (measured(drift=0.08), "drift_percent", 7.0, "uneasy"),
        (measured(drift=0.15), "drift_percent", 12.6, "unsteady"),
        (measured(jitter=0.03), "jitter_percent", 3.0, "uneasy"),
        (measured(speeds=(1.0, 1.08, 1.0)), "process_percent", 4.6, "uneasy"),
        (measured(speeds=(1.0, 1.11, 1.0)), "process_percent", 6.35, "unsteady"),
    ],
)
def test_each_kind_of_unrest_is_told_from_the_others(
    samples: list[Sample], field: str, percent: float, state: str
) -> None:
    found = stability(samples, "reference")
    assert getattr(found, field) == pytest.approx(percent, rel=0.15)
    assert found.state == state
    others = {"drift_percent", "jitter_percent", "process_percent"} - {field}
    assert all(getattr(found, other) < 2.0 for other in others)
    # It is divided out where the reference saw it.
    assert found.noise_floor_percent < 1.5


def test_another_mode_is_told_from_drift() -> None:
    samples = [
        replace(one, milliseconds=1.5 * one.milliseconds) if 60 <= one.round < 100 and one.process == 1 else one
        for one in measured(jitter=0.005)
    ]
    found = stability(samples, "reference")
    assert found.other_mode_percent == pytest.approx(100 * 40 / 600) and found.state == "uneasy"
    assert found.other_mode_factor == pytest.approx(1.5, rel=0.01)
    assert "7 % of the time at another speed, 1.50 times" in found.words
    assert max(found.drift_percent, found.jitter_percent, found.process_percent, found.noise_floor_percent) < 2.0


def test_repeated_rounds_stolen_time_and_pauses_are_said() -> None:
    found = stability(measured(), "reference", [turn(repeated_rounds=3), turn(stolen_seconds=0.4, paused_seconds=6.0)])
    assert (found.rounds, found.repeated_rounds, found.paused_seconds) == (40, 3, 6.0)
    assert found.stolen_percent == pytest.approx(2.0) and found.repeated_percent == pytest.approx(7.5)
    assert found.state == "uneasy"
    for said in ("3 of 40 rounds taken again", "2.0 % of a core stolen", "6 s waited"):
        assert said in found.words


def test_it_survives_json() -> None:
    found = stability(measured(drift=0.01, jitter=0.01), "reference", [turn()])
    value = json.loads(json.dumps(found.to_json()))
    assert (value.pop("state"), value.pop("words")) == (found.state, found.words)
    assert Stability(**value) == found


def test_without_a_reference_nothing_can_be_said() -> None:
    with pytest.raises(ValueError, match="reference"):
        stability([Sample("reference", LONG, 0, 0, 1.0, 0.0)], "reference")

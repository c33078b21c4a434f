"""The stages of a turn in milliseconds, beside the least time that what they need takes on this machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from eval.speed.clock import percentile, spread
from eval.speed.floor import Need, encoder_need, extraction_need, scoring_need
from eval.speed.material import Material
from eval.speed.stages import STAGES, Watch, watched
from eval.speed.turns import one_turn
from reet_hf.compressor import Compressor
from reet_hf.scoring.scorer import REFINED_TOKENS
from reet_hf.session import Session

HISTORIES = (2_000, 32_000, 100_000)
NEW = 500  # tokens of a turn
OTHER = "everything else"


def measure(
    compressor: Compressor,
    material: Material,
    rates: dict[str, Any],
    histories: Sequence[int] = HISTORIES,
    repetitions: int = 20,
    told: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """By history the milliseconds of each stage, and of some the floor and how many times as much they take.

    Args:
        compressor: What compresses; a `ReetScorer` in PyTorch stands behind it.
        material: Where text comes from.
        rates: What `floor.rates` and `floor.bandwidth` found: `matrix` and `read`.
        histories: Tokens before a turn; a session is made anew before it has a quarter more, or 1,000 tokens.
        repetitions: Turns of each.
        told: Is given what is going on.
    """
    found = {}
    for history in histories:
        told(f"stages at {history:,} tokens")
        found[str(history)] = _at(compressor, material, rates, history, repetitions)
    return {"new_tokens": NEW, "histories": found}


def _at(
    compressor: Compressor, material: Material, rates: dict[str, Any], history: int, repetitions: int
) -> dict[str, Any]:
    spent: dict[str, list[float]] = defaultdict(list)
    floors: dict[str, list[float]] = defaultdict(list)
    needs: dict[str, list[Need]] = defaultdict(list)
    whole, sizes, session = [], [], _session(compressor, material, history)
    for _ in range(repetitions):
        if session.cached_tokens > max(1.25 * history, history + 1000):
            session = _session(compressor, material, history)
        exchange = material.exchange(NEW)
        sizes.append(session.cached_tokens)
        with watched() as watch:
            whole.append(one_turn(session, exchange))
            for stage in STAGES:
                spent[stage].append(1000 * watch.seconds.get(stage, 0.0))
        spent[OTHER].append(whole[-1] - sum(1000 * seconds for seconds in watch.seconds.values()))
        for stage, (need, gflops) in _needs(compressor, session, watch, rates).items():
            needs[stage].append(need)
            floors[stage].append(need.milliseconds(gflops, rates["read"]["best"]))
    stages: dict[str, Any] = {name: spread(values) for name, values in spent.items()}
    for stage, least in floors.items():
        middle = percentile(least, 0.5)
        stages[stage]["floor"] = {
            "mflops": round(percentile([need.flops for need in needs[stage]], 0.5) / 1e6, 1),
            "megabytes": round(percentile([need.bytes for need in needs[stage]], 0.5) / 1e6, 2),
            "milliseconds": round(middle, 3),
            "gap": round(stages[stage]["p50"] / middle, 1) if middle else None,
        }
    return {"history_tokens": int(percentile(sizes, 0.5)), "turn": spread(whole), "stages": stages}


def _session(compressor: Compressor, material: Material, history: int) -> Session:
    """One of so many tokens, whose last turn was compressed already."""
    session = Session(compressor)
    if history > NEW:
        session.append(material.conversation(history - NEW).messages)
    one_turn(session, material.exchange(min(NEW, history)))
    return session


def _needs(
    compressor: Compressor, session: Session, watch: Watch, rates: dict[str, Any]
) -> dict[str, tuple[Need, float]]:
    """What the neural stages of the watched turn needed, and the GFLOP/s of their precision."""
    scorer: Any = compressor.scorer
    config, scored = scorer.config, session._state.scored
    dtype = str(scorer.encoder.dtype).removeprefix("torch.")
    fast, plain = (rates["matrix"][name]["layer"] for name in (dtype, "float32"))
    each = 4 if dtype == "float32" else 2
    query, text = watch.passes[-1][0], sum(size for windows in watch.passes[:-1] for size in windows)
    history = len(scored.tokens)
    state = scored.nbytes["states"] / history
    found = {
        "encoder": (encoder_need(config, watch.passes, each), fast),
        "scoring head": (
            scoring_need(config, history, len(scored.unit_starts), min(history, REFINED_TOKENS), query, state),
            plain,
        ),
    }
    if watch.words:
        subjects, inside = watch.subjects
        need = extraction_need(config, watch.words, subjects, inside / max(subjects, 1), text * state)
        found["extraction head"] = (need, plain)
    return found

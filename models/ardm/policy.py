"""Which places to fill at once under a budget of network calls (arXiv 2110.02037, section 3.1).

Filling k places at a point where one place costs L nats costs k L nats, because they do not see each other.
The budget of a model with a hierarchy is shared out among its stages such that all of them together cost least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from models.core.errors import ConfigError


def monotone(losses: Sequence[float]) -> list[float]:
    """Running averages of L_1..L_n, sorted from the largest: noise would otherwise be taken for a free lunch."""
    return sorted(losses, reverse=True)


def best_policy(losses: Sequence[float], budget: int) -> tuple[list[int], float]:
    """How many places to fill at each of at most `budget` calls, and the nats that it costs, by dynamic programming.

    losses: L_t in nats for t = 1..n, sorted here. Raises ConfigError for a budget below one.
    """
    if budget < 1 or not losses:
        raise ConfigError(f"a policy needs a call and a place; given {budget} calls, {len(losses)} places.")
    n = len(losses)
    costs, choices = _programme(losses, min(budget, n))
    t, ends = n, [n]
    for chosen in reversed(choices):
        if chosen[t] != t:
            t = chosen[t]
            ends.append(t)
    return [end - start for start, end in pairwise(reversed(ends))], costs[-1]


def _programme(losses: Sequence[float], budget: int) -> tuple[list[float], list[list[int]]]:
    """The cost of the best policy of at most 1, 2, ... budget calls; and for each call, how many places were filled
    before it in the best way to have filled so many after it.
    """
    L, n = monotone(losses), len(losses)
    cost = [0.0] + [float("inf")] * n  # cost[t]: t places filled
    costs: list[float] = []
    choices: list[list[int]] = []
    for _ in range(budget):
        step, chosen = list(cost), list(range(n + 1))  # a call may be left out
        for t in range(1, n + 1):
            for s in range(t):
                if (value := cost[s] + (t - s) * L[s]) < step[t]:
                    step[t], chosen[t] = value, s
        cost = step
        costs.append(cost[n])
        choices.append(chosen)
    return costs, choices


def budgets(
    n: int, steps: int, difficulty: Sequence[Mapping[str, Any]], stages: int, *, even: bool = False
) -> list[int]:
    """Calls for each stage of a string with n hidden places, `steps` in all; each stage gets at least one.

    Raises ConfigError for fewer steps than stages.
    """
    if steps < stages:
        raise ConfigError(
            f"steps is {steps}, but the model tells a string in {stages} stages; each needs a call."
        )
    if stages == 1:
        return [steps]
    places = [max(1, round(n * part["places"])) for part in difficulty] or [n] * stages
    if even or not difficulty:
        ends = [round((steps - stages) * end / sum(places)) for end in accumulate(places)]
        return [1 + late - early for early, late in pairwise([0, *ends])]
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}  # by calls spent: the least cost, and how
    for count, part in zip(places, difficulty, strict=True):
        costs = _programme(losses_for(count, part["nats"]), min(steps, count))[0]
        ways = [
            (before + cost, spent + calls, [*chosen, calls])
            for spent, (before, chosen) in best.items()
            for calls, cost in enumerate(costs, 1)
            if spent + calls <= steps
        ]
        best = {spent: (cost, chosen) for cost, spent, chosen in sorted(ways, reverse=True)}
    return min(best.values())[1]


def even_policy(n: int, budget: int) -> list[int]:
    """Places per call, as equal as can be: the policy without knowledge of the losses."""
    budget = min(budget, n)
    ends = [round(k * n / budget) for k in range(budget + 1)]
    return [end - start for start, end in pairwise(ends)]


def policy_cost(losses: Sequence[float], policy: Sequence[int]) -> float:
    """Nats that a policy costs."""
    L, t, cost = monotone(losses), 0, 0.0
    for count in policy:
        cost += count * L[t]
        t += count
    return cost


def losses_for(n: int, nats: Sequence[float]) -> list[float]:
    """L_1..L_n of n places from nats a place on an even grid over the share already told."""
    return [nats[min(int(t / n * len(nats)), len(nats) - 1)] for t in range(n)]


def policy_for(n: int, budget: int | None, nats: Sequence[float], *, even: bool = False) -> list[int]:
    """The policy for n places; without a budget one place a call."""
    if budget is None or budget >= n:
        return [1] * n
    if even or not nats:
        return even_policy(n, budget)
    return best_policy(losses_for(n, nats), budget)[0]

"""Which places to fill at once under a budget of network calls (arXiv 2110.02037, section 3.1).

Filling k places at a point where one place costs L nats costs k L nats, because they do not see each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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
    L, n = monotone(losses), len(losses)
    budget = min(budget, n)
    cost = [0.0] + [float("inf")] * n  # cost[t]: t places filled
    choices: list[list[int]] = []
    for _ in range(budget):
        step, chosen = list(cost), list(range(n + 1))  # a call may be left out
        for t in range(1, n + 1):
            for s in range(t):
                if (value := cost[s] + (t - s) * L[s]) < step[t]:
                    step[t], chosen[t] = value, s
        cost = step
        choices.append(chosen)
    t, ends = n, [n]
    for chosen in reversed(choices):
        if chosen[t] != t:
            t = chosen[t]
            ends.append(t)
    return [end - start for start, end in pairwise(reversed(ends))], cost[n]


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


def losses_for(n: int, difficulty: Sequence[float]) -> list[float]:
    """L_1..L_n of a string of n tokens from nats a token on an even grid over the share already seen."""
    return [difficulty[min(int(t / n * len(difficulty)), len(difficulty) - 1)] for t in range(n)]


def policy_for(n: int, budget: int | None, difficulty: Sequence[float], *, even: bool = False) -> list[int]:
    """The policy for a string of n tokens; without a budget one place a call."""
    if budget is None or budget >= n:
        return [1] * n
    if even or not difficulty:
        return even_policy(n, budget)
    return best_policy(losses_for(n, difficulty), budget)[0]

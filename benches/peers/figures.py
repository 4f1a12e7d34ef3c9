"""Figures out of measurements: the speed at a recall, ratios, medians.

`python3 -B -m doctest figures.py` runs the examples.
"""

import math
import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    value: float
    # "" for the value itself; ">=" or "<=" if the true one may be more or less; "?" for either.
    bound: str = ""

    def __str__(self):
        digits = 0 if self.value >= 100 else 2
        return f"{self.bound} {self.value:,.{digits}f}".strip()

    def over(self, other):
        """The ratio to `other`.

        >>> str(Figure(300, ">=").over(Figure(100)))
        '>= 3.00'
        >>> str(Figure(300).over(Figure(100, ">=")))
        '<= 3.00'
        >>> str(Figure(300, ">=").over(Figure(100, ">=")))
        '? 3.00'
        """
        turned = {">=": "<=", "<=": ">="}.get(other.bound, other.bound)
        return Figure(self.value / other.value, joined([self.bound, turned]))


def joined(bounds):
    """The bound of what several figures make together."""
    bounds = set(bounds) - {""}
    return "?" if len(bounds) > 1 else next(iter(bounds), "")


def median(figures):
    """Of figures with their bounds; None if there is none, or one of them is None.

    >>> str(median([Figure(1), Figure(5), Figure(2, ">=")]))
    '>= 2.00'
    >>> median([Figure(1), None])
    """
    if not figures or None in figures:
        return None
    value = statistics.median(figure.value for figure in figures)
    return Figure(value, joined(figure.bound for figure in figures))


def envelope(points):
    """Of points (recall, speed) those that no other beats in both, by rising recall.

    >>> envelope([(0.9, 100), (0.95, 40), (0.96, 50), (0.8, 90)])
    [(0.9, 100), (0.96, 50)]
    """
    best = []
    for recall, speed in sorted(points, reverse=True):
        if not best or speed > best[-1][1]:
            best.append((recall, speed))
    return best[::-1]


def speed_at(points, recall):
    """The speed at a recall: log-linear between neighbours of the envelope.

    Below the lowest recall measured it is at least the speed there; None above the highest.

    >>> str(speed_at([(0.9, 400), (1.0, 100)], 0.95))
    '200'
    >>> str(speed_at([(0.96, 400), (1.0, 100)], 0.95))
    '>= 400'
    >>> speed_at([(0.9, 400), (0.94, 100)], 0.95)
    """
    best = envelope(points)
    if recall <= best[0][0]:
        return Figure(best[0][1], "" if recall == best[0][0] else ">=")
    for (below, fast), (above, slow) in zip(best, best[1:]):
        if recall <= above:
            part = (recall - below) / (above - below)
            return Figure(math.exp((1 - part) * math.log(fast) + part * math.log(slow)))
    return None


def ef_reaching(points, recall):
    """The least ef of points that reaches a recall; the largest if none does.

    >>> ef_reaching([{"ef": 16, "recall": 0.94}, {"ef": 32, "recall": 0.97}], 0.95)
    32
    """
    efs = [point["ef"] for point in points if point["recall"] >= recall]
    return min(efs, default=max(point["ef"] for point in points))

"""The worlds there are, by name: a new one is a file of its own and a line here."""

from __future__ import annotations

from .chain import Chain
from .shortest_path import ShortestPath
from .world import World


def worlds() -> dict[str, World]:
    """Every world by name."""
    return {w.name: w for w in (Chain(), ShortestPath())}

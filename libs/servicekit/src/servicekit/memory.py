"""How much memory a process may take, and how one that lives long collects garbage."""

import gc
import resource
import sys

__all__ = ["bound_memory", "collect_seldom"]


def bound_memory(megabytes: int) -> None:
    """Bound what this process may take, for good. macOS refuses such a bound: what runs there has none."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    except (OSError, ValueError):
        if sys.platform != "darwin":
            raise


def collect_seldom() -> None:
    """Leave alone what is there now for good (code lists, classes): to be called once everything is loaded.

    A request makes hundreds of objects and hardly a cycle, so that they go by themselves; looking for cycles after
    every 700 of them took a fifth of the time of validating a CV.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)

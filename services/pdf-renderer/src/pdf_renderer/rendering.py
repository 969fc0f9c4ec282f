"""The worker processes that set documents: one that is too slow, too large or deadly costs one of them and its own request."""

from pdf_renderer.settings import WorkerSettings
from servicekit.worker_pool import Workers, WorkersPlan

__all__ = ["plan_of", "render"]


def plan_of(settings: WorkerSettings) -> WorkersPlan:
    """Say how the processes are started."""
    timeout = settings.timeout.total_seconds()
    limits = (settings.memory_mb, settings.worn_mb, timeout)
    return WorkersPlan(
        program=("-m", "pdf_renderer.worker", *map(str, limits)),
        processes=settings.processes,
        timeout=timeout,
        pieces=settings.documents,
        waiting=settings.waiting,
        environment={"RAYON_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
    )


async def render(workers: Workers, template: str, shown: bytes) -> bytes:
    """Render one document, or raise WorkFailed: WorkRefused is typst's word. The time limit counts from when a worker took it."""
    return await workers.work(template.encode() + b"\n" + shown)

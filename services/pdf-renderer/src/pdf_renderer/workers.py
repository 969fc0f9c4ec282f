"""The worker processes that set documents: one that is too slow, too large or deadly costs one of them and its own request."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from servicekit import workers

__all__ = ["WorkerSettings", "Workers"]


class WorkerSettings(BaseModel):
    """How much of the machine rendering may take."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    processes: int = Field(default=2, ge=1, le=64)
    """Documents rendered at the same time."""
    timeout: timedelta = timedelta(seconds=20)
    """Longest time for one document; then its worker is killed."""
    memory_mb: int = Field(default=1536, ge=256)
    """Address space of one worker; a document that needs more ends it."""
    documents: int = Field(default=2_000, ge=1)
    """Documents after which a worker is replaced by a new one."""
    worn_mb: int = Field(default=256, ge=1)
    """Memory that a worker may go on with after a document; above it, it is replaced too."""
    waiting: int = Field(default=100, ge=0)
    """Documents that may wait for a worker; further ones are refused at once."""


class Workers(workers.Workers):
    """Renders documents, each in one of a fixed number of processes. Use as a context manager."""

    def __init__(self, settings: WorkerSettings) -> None:
        limits = (settings.memory_mb, settings.worn_mb, settings.timeout.total_seconds())
        super().__init__(
            workers.WorkersPlan(
                program=("-m", "pdf_renderer.worker", *map(str, limits)),
                processes=settings.processes,
                timeout=settings.timeout.total_seconds(),
                pieces=settings.documents,
                waiting=settings.waiting,
                environment={"RAYON_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
            )
        )

    async def render(self, template: str, shown: bytes) -> bytes:
        """Render one document, or raise WorkFailed: WorkRefused is typst's word. The time limit counts from when a worker took it."""
        return await self.work(template.encode() + b"\n" + shown)

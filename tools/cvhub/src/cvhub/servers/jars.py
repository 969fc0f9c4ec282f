"""Kafka's jars: locked by hash, downloaded once into the user's Maven cache."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from cvhub.servers.process import CannotStart

Progress = Callable[[int, int], None]
"""Called with the number of jars done and the number of all."""


def silent(_done: int, _total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Jar:
    """One locked artefact."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def path(self) -> Path:
        folder = _cache().joinpath(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}.jar"

    def intact(self) -> bool:
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest() == self.sha256
        except OSError:
            return False


def _cache() -> Path:
    return Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")


def locked_jars() -> tuple[Jar, ...]:
    return parse((files("cvhub.servers") / "kafka.jars").read_text())


def parse(lock: str) -> tuple[Jar, ...]:
    """Read a lock: `group:artifact:version sha256` on each line."""
    return tuple(_parse(lock))


def _parse(text: str) -> Iterator[Jar]:
    for line in text.splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256 = line.split()
            group, artifact, version = coordinates.split(":")
            yield Jar(group, artifact, version, sha256)


def kafka_classpath(progress: Progress = silent) -> str:
    """Give the class path of all locked jars."""
    return class_path(locked_jars(), progress)


def class_path(jars: Sequence[Jar], progress: Progress = silent) -> str:
    """Give the class path of these jars; what is missing or damaged is downloaded and checked."""
    with ThreadPoolExecutor(8) as pool:
        intact = list(pool.map(Jar.intact, jars))
        missing = [jar for jar, ok in zip(jars, intact, strict=True) if not ok]
        done = len(jars) - len(missing)
        progress(done, len(jars))
        for number, future in enumerate(as_completed([pool.submit(_download, jar) for jar in missing]), 1):
            future.result()
            progress(done + number, len(jars))
    return os.pathsep.join(str(jar.path) for jar in jars)


def _download(jar: Jar) -> None:
    from jgo.maven import MavenContext  # noqa: PLC0415 - slow to import, needed at first set-up only

    jar.path.unlink(missing_ok=True)
    name = f"{jar.artifact}-{jar.version}.jar"
    try:
        context = MavenContext(repo_cache=_cache())
        context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    except OSError as error:
        if error.errno == 28:
            raise CannotStart(f"The disk of {_cache()} is full: free 100 MB and run again.") from error
        raise CannotStart(_no_network(name)) from error
    except Exception as error:
        raise CannotStart(_no_network(name)) from error
    if not jar.intact():
        jar.path.unlink(missing_ok=True)
        raise CannotStart(
            f"{name} does not have the locked hash: it was not kept. Check the mirror or proxy in use."
        )


def _no_network(name: str) -> str:
    return f"Cannot download {name}: the first set-up needs the network (later starts do not). Check it and run again."

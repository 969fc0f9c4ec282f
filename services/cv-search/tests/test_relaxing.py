"""What a text that finds nothing is read as instead, with CVs of which only is known which reading finds one."""

from collections.abc import Callable

import pytest

from cv_search.port import Clause
from cv_search.relaxing import Relaxed, relax


def finds(*known: tuple[str, int]) -> Callable[[Relaxed], bool]:
    """Find a CV by a reading that names enough of what is known: first words, and the typos in them."""

    def found(relaxed: Relaxed) -> bool:
        return sum((clause.words[0], typos) in known for clause, typos in relaxed.clauses) >= relaxed.least

    return found


def read(relaxed: Relaxed) -> tuple[list[tuple[str, int]], int]:
    return [(clause.words[0], typos) for clause, typos in relaxed.clauses], relaxed.least


def test_what_finds_something_is_read_as_it_stands() -> None:
    text = Clause(("kok",)), Clause(("smed",))
    assert relax(text, finds(("kok", 0), ("smed", 0))) == Relaxed(((text[0], 0), (text[1], 0)), 2)
    assert relax((), lambda _: False) == Relaxed((), 0)


@pytest.mark.parametrize(
    ("clause", "most"),
    [
        (Clause(("kok",)), 0),
        (Clause(("smed",)), 1),
        (Clause(("tømrere",)), 1),
        (Clause(("pædagoge",)), 2),
        (Clause(("pædagogisk", "kok")), 0),
        (Clause(("pædagogisk", "smed")), 1),
        (Clause(("pædagogisk",), phrase=True), 0),
        (Clause(("pædagogisk",), known=True), 0),
        (Clause(("9001",)), 0),
        (Clause(("en1090",), typed="en1090s"), 0),
        (Clause(("pædagogisk",), prefix=True), 0),
    ],
)
def test_so_many_typos_are_forgiven_as_the_shortest_word_bears(clause: Clause, most: int) -> None:
    for typos in range(4):
        read_as = relax((clause,), finds((clause.words[0], typos)))
        assert read(read_as) == ([(clause.words[0], typos if typos <= most else 0)], 1)


def test_a_typo_in_what_the_stem_leaves_out_is_forgiven_in_the_word_as_it_was_typed() -> None:
    clause = Clause(("butiksassist",), typed="butiksassisten")
    for found, wanted in (
        (("butiksassisten", 0), ("butiksassist", 0)),
        (("butiksassisten", 1), ("butiksassisten", 1)),
        (("butiksassisten", 2), ("butiksassisten", 2)),
        (("butiksassisten", 3), ("butiksassist", 0)),
    ):
        assert read(relax((clause,), finds(found))) == ([wanted], 1)
    both = finds(("butiksassist", 1), ("butiksassisten", 1))
    assert read(relax((clause,), both)) == ([("butiksassist", 1)], 1)
    short = Clause(("bad",), typed="baden")
    assert read(relax((short,), finds(("baden", 1)))) == ([("baden", 1)], 1)
    assert read(relax((short,), finds(("bad", 1)))) == ([("bad", 0)], 1)


def test_a_compound_that_nothing_is_like_is_read_as_what_it_is_a_kind_of() -> None:
    clause = Clause(("børnesygeplejerske",), head="sygeplejerske")
    for typed, head, titled in (("børnesygeplejerske", "sygeplejerske", False), ("dansklærer", "lær", True)):
        found = relax((Clause((typed,), head=head),), finds((head, 0)))
        assert found == Relaxed(((Clause((head,), titled=titled), 0),), 1)
    assert read(relax((clause,), finds(("børnesygeplejerske", 2)))) == ([("børnesygeplejerske", 2)], 1)


def test_an_official_name_that_nobody_has_is_read_as_the_beginning_of_others_in_titles() -> None:
    def begun(relaxed: Relaxed) -> bool:
        return all(clause.prefix and clause.titled for clause, _ in relaxed.clauses)

    for word, known, prefix in (("datalog", True, True), ("datalog", False, False), ("malte", True, False)):
        [(clause, _)] = relax((Clause((word,), known=known),), begun).clauses
        assert (clause.prefix, clause.titled) == (prefix, prefix)


def test_a_name_of_several_words_that_nobody_has_is_read_as_its_words() -> None:
    head = Clause(("finansrådgiver",), head="rådgiver", known=True)
    name = Clause(("finansiel", "rådgiver"), known=True, apart=(Clause(("finansiel",)), head))
    town = Clause(("odense",))
    assert read(relax((name, town), finds(("finansiel", 0), ("odense", 0)))) == (
        [("finansiel", 0), ("odense", 0)],
        2,
    )
    known = finds(("finansiele", 0), ("finansiel", 1), ("rådgiver", 0), ("odense", 0))
    assert read(relax((Clause(("x", "y"), known=True, apart=name.apart), town), known)) == (
        [("finansiel", 1), ("rådgiver", 0), ("odense", 0)],
        3,
    )


@pytest.mark.parametrize(("together", "least"), [(5, 5), (4, 3), (3, 3), (2, 1), (1, 1)])
def test_where_not_all_is_found_together_more_than_half_must_be_or_one(together: int, least: int) -> None:
    words = ["alfa", "bravo", "delta", "ekko", "foxtrot"]

    def found(relaxed: Relaxed) -> bool:
        """Each word is found with one typo in it, and so many of them together."""
        return min(sum(typos == 1 for _, typos in relaxed.clauses), together) >= relaxed.least

    text = tuple(Clause((word,)) for word in words)
    assert read(relax(text, found)) == ([(word, 1) for word in words], least)

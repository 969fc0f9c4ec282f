"""What is remembered is bounded, by number and by weight."""

from cv_gateway.bounded import Bounded


def test_the_one_put_first_leaves_first_and_one_put_again_is_put_last() -> None:
    some = Bounded[str, int](2)
    for key in "abac":
        some.put(key, 1)
    assert [key for key in "abc" if some.get(key)] == ["a", "c"]


def test_a_heavy_one_takes_the_places_of_as_many_and_gives_them_back() -> None:
    some = Bounded[str, int](4)
    for key, weight in (("a", 1), ("b", 1), ("c", 1), ("heavy", 3)):
        some.put(key, 1, weight)
    assert len(some) == 2
    some.put("heavy", 1, 1)
    for key in "de":
        some.put(key, 1)
    assert len(some) == 4
    some.put("heavier than all", 1, 5)
    assert len(some) == 0
    some.put("heavy", 1, 4)
    some.clear()
    for key in "abcd":
        some.put(key, 1)
    assert len(some) == 4

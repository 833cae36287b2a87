import pytest

from bench.datasets.item import Item
from bench.graders.aliases import MAX_CANDIDATES, grade, words


def item(*aliases: str) -> Item:
    return Item("q", "Which?", "questions", "aliases", {"aliases": list(aliases)})


@pytest.mark.parametrize(
    ("aliases", "answer"),
    [
        (["Paris"], "Paris"),
        (["Paris"], "It is PARIS."),
        (["Paris", "City of Paris"], "the city of paris, France"),
        (["Gabriel García Márquez"], "Gabriel Garcia Marquez wrote it."),
        (["Shakespeare"], "Shakespeare's play"),
        (["The Beatles"], "Beatles"),
        (["1000"], "1,000 metres"),
        (["3.14"], "about 3.14"),
        (["New York"], "New-York"),
        (["Paris"], "Paris. It is known for art, fashion, food, cafés, museums, parks, bridges and music."),
        (["Paris"], "not only Paris"),
        (["red"], "red, green or blue"),
    ],
)
def test_an_alias_named_as_whole_words_is_right(aliases: list[str], answer: str) -> None:
    assert grade(item(*aliases), answer).quality == 1.0


@pytest.mark.parametrize(
    ("aliases", "answer"),
    [
        (["Paris"], "Lyon"),
        (["Paris"], "a comparison"),
        (["Paris"], "It is not Paris but Lyon."),
        (["Paris"], "It isn't Paris."),
        (["5"], "5.3"),
        (["New York"], "York, and it is new"),
        (["Paris"], ""),
        (["Paris"], "```"),
        (["!!"], "anything!!"),
    ],
)
def test_anything_else_is_wrong(aliases: list[str], answer: str) -> None:
    assert grade(item(*aliases), answer).quality == 0.0


def test_listing_many_candidates_is_guessing() -> None:
    cities = ["Lyon", "Nice", "Lille", "Metz", "Brest", "Paris"]
    assert len(cities) > MAX_CANDIDATES

    for answer in (", ".join(cities), "\n".join(f"- {city}" for city in cities), " or ".join(cities)):
        grade_ = grade(item("Paris"), answer)
        assert grade_.quality == 0.0
        assert grade_.note == "only named in a list of many candidates"


def test_words_of_nothing_but_an_article_are_kept() -> None:
    assert words("The") == ["the"]


@pytest.mark.parametrize(
    ("aliases", "answer"),
    [
        (["Shakespeare"], "William Shakespeare, who also wrote Hamlet, Macbeth, Othello, King Lear and The Tempest."),
        (["Niklaus Wirth"], "Niklaus Wirth (Euler, Algol W, Pascal, Modula, Modula-2, Oberon)"),
        (["CO2"], "$CO_2$"),
        (["CO2"], "CO_{2}"),
        (["1989"], "On 9.11.1989."),
        (["3.14"], "It is 3.14."),
    ],
)
def test_a_name_with_details_a_formula_and_a_date_are_read_as_people_do(aliases: list[str], answer: str) -> None:
    assert grade(item(*aliases), answer).quality == 1.0

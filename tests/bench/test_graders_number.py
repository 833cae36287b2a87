import pytest

from bench.datasets.item import Item
from bench.graders.number import grade, stated_result


def item(answer: str, tolerance: float | None = None) -> Item:
    expected: dict[str, object] = {"answer": answer}
    if tolerance is not None:
        expected["tolerance"] = tolerance
    return Item("m", "How many?", "math", "number", expected)


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ("18", "18"),
        ("18", "The answer is 18."),
        ("18", "First 3 + 4 = 7, then 7 + 11 = 18 apples"),
        ("18", r"So we get \boxed{18}. Check: 18 - 3 = 15"),
        ("18", "The answer is **18 km**. It took 3 hours."),
        ("18", "#### 18"),
        ("18", "18th"),
        ("18", "There are eighteen."),
        ("18", "Answer:\n- 18"),
        ("18", "18.00"),
        ("18", "The final answer is: 6 * 3 = 18 boxes of 2 each."),
        ("1234.5", "$1,234.50"),
        ("1234", r"\(\boxed{1{,}234}\)"),
        ("1234.56", "1.234,56 Euro"),
        ("3.5", "3,5 Liter"),
        ("0.125", "0,125"),
        ("1234567", "1 234 567 inhabitants"),
        ("5000", "5'000 Franken"),
        ("-5", "−5 °C"),
        ("-5", "x = - 5"),
        ("-5", "it is minus 5 degrees"),
        ("-5", "The balance is -$5."),
        ("-5", "The balance is $-5."),
        ("7", "10 - 3 = 7"),
        ("5", "a range of 3-5"),
        ("24", "The area is 24 cm^2"),
        ("0.75", "3/4"),
        ("3/4", r"\boxed{\frac{3}{4}}"),
        ("3/4", "0.75"),
        ("2.5", "2 1/2 cups"),
        ("2500000", "about 2.5 million"),
        ("25", "25 %"),
        ("0.25", "25%"),
        ("1200", "1.2e3"),
        ("1500", r"1.5 \times 10^{3} m"),
        ("3.33", "3.3333333"),
        ("0.33", "1/3"),
        ("105", "one hundred and five"),
        ("1200000", "one million two hundred thousand"),
    ],
)
def test_recognises_the_right_number_in_many_forms(expected: str, answer: str) -> None:
    assert grade(item(expected), answer).quality == 1.0


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ("18", "The answer is 17."),
        ("18", "It could be 18, but the answer is 17."),
        ("18", "180"),
        ("18", "1.8"),
        ("18", "-18"),
        ("-18", "18"),
        ("3.5", "3.46"),
        ("3.33", "3.3"),
        ("3.33", "3.34"),
        ("18", "18 of 20 = 90 %"),
        ("18", "1e999"),
    ],
)
def test_refuses_a_wrong_number(expected: str, answer: str) -> None:
    assert grade(item(expected), answer).quality == 0.0


@pytest.mark.parametrize("answer", ["", "   ", "I do not know.", "H2O", "1/0", "\x00", r"\boxed{", r"\boxed{x}"])
def test_an_answer_without_a_number_is_wrong_and_says_so(answer: str) -> None:
    grade_ = grade(item("18"), answer)

    assert grade_.quality == 0.0
    assert grade_.note == "no number stated"


def test_a_tolerance_is_an_absolute_difference() -> None:
    assert grade(item("3.14", tolerance=0.01), "3.15").quality == 1.0
    assert grade(item("3.14", tolerance=0.01), "3.16").quality == 0.0


def test_the_note_of_a_wrong_answer_holds_what_was_stated() -> None:
    assert grade(item("18"), "The answer is 17.").note == "stated 17"


def test_an_expected_answer_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="is no number"):
        grade(item("many"), "18")


def test_a_very_long_answer_is_read_quickly() -> None:
    assert stated_result("1 and 2, " * 20_000 + "so the answer is 7.") is not None


@pytest.mark.parametrize(
    ("expected", "question", "answer"),
    [
        ("45", "How many glasses of 0.2 litres?", "That is 9 / 0.2 = 45. Therefore, 45 glasses of 0.2 litres."),
        (
            "43",
            "A ferry takes 258 vehicles in 6 crossings.",
            "It carries 43 vehicles on each of 6 crossings.",
        ),
        ("7", "The film begins at 20:15 and ends before 22:00. How long before?", "It ends 7 minutes before 22:00."),
        ("18", "How many?", "The list:\n- 18"),
        ("12", "Of 12 eggs and 5 more, how many were there first?", "There were 12."),
        ("1200", "How much is it?", "It costs 1.200 euros."),
    ],
)
def test_the_last_sentence_states_what_the_question_did_not_give(expected: str, question: str, answer: str) -> None:
    asked = Item("m", question, "math", "number", {"answer": expected})
    assert grade(asked, answer).quality == 1.0

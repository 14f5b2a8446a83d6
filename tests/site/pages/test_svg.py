"""Curves that the server draws."""

from __future__ import annotations

from django.template.loader import render_to_string

from rewards_site.pages.svg import HEIGHT, WIDTH, Curve, curve


def of(points: list[tuple[float, float]], **options: object) -> Curve:
    drawn = curve(points, title="Payouts", summary="In words.", x_title="Place", y_title="Points", **options)
    assert drawn is not None
    return drawn


def test_nothing_is_drawn_of_nothing():
    assert curve([], title="", summary="", x_title="", y_title="") is None


def test_what_is_more_stands_higher_and_all_of_it_is_in_the_drawing():
    drawn = of([(1, 100.0), (2, 60.0), (3, 0.0)])

    places = [tuple(map(float, each.split())) for each in drawn.line[1:].split(" L")]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert [y for _, y in places] == sorted(y for _, y in places)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert [tick.label for tick in drawn.y_ticks] == ["0", "50", "100"]
    assert not drawn.logarithmic


def test_values_that_differ_much_stand_on_a_logarithmic_axis():
    drawn = of([(1, 50_000.0), (10, 500.0), (1_000, 5.0)])

    assert drawn.logarithmic
    assert [tick.label for tick in drawn.y_ticks] == ["10", "100", "1,000", "10,000"]
    assert [tick.label for tick in drawn.x_ticks] == ["1", "10", "100", "1,000"]


def test_a_single_point_is_a_dot_and_equals_are_a_level_line():
    assert len(of([(1, 7.0)]).dots) == 1
    assert len({place.split()[1] for place in of([(1, 7.0), (2, 7.0)]).line[1:].split(" L")}) == 1


def test_a_line_to_compare_with_is_drawn_where_there_is_one():
    drawn = of([(0, 0.0), (50, 10.0), (100, 100.0)], reference=((0, 0), (100, 100)))

    begins, ends = drawn.line[1:].split(" L")[0], drawn.line.split(" L")[-1]
    assert drawn.reference == f"M{begins} L{ends}"
    assert 'class="chart-reference"' in render_to_string("pages/curve.html", {"curve": drawn})
    assert "chart-reference" not in render_to_string("pages/curve.html", {"curve": of([(1, 5.0), (2, 3.0)])})


def test_the_words_stand_beside_the_drawing():
    page = render_to_string("pages/curve.html", {"curve": of([(1, 5.0), (2, 3.0)], mark=(2, 3.0))})

    assert 'role="img"' in page
    assert "<title>Payouts</title>" in page
    assert page.count("In words.") == 2
    assert "style=" not in page

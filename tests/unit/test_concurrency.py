from nautilus.concurrency import Concurrency


def serve(control: Concurrency, answers: int, hidden: int, base_ms: float = 200.0) -> list[int]:
    """A server that slows down in proportion when more than `hidden` requests are open; returns the levels used."""
    used = []
    for _ in range(answers):
        used.append(control.allowed)
        control.answered("1m", 1950, base_ms * max(1.0, control.allowed / hidden) ** 2)
    return used


def test_it_goes_to_the_cap_at_once_and_stays_there_while_answers_are_quick():
    levels = serve(Concurrency(6), 200, hidden=50)
    assert levels[0] == 2
    assert set(levels[6:]) == {6}


def test_it_finds_the_hidden_number_of_a_server_that_slows_down_and_stays_near_it():
    levels = serve(Concurrency(50), 2_000, hidden=8)
    late = levels[1_000:]
    assert 6 <= sum(late) / len(late) <= 11
    assert max(late) <= 13


def test_trouble_halves_and_quick_answers_bring_it_back():
    control = Concurrency(8)
    serve(control, 50, hidden=50)
    control.troubled()
    assert control.allowed == 4
    serve(control, 100, hidden=50)
    assert control.allowed == 8
    for _ in range(10):
        control.troubled()
    assert control.allowed == 1


def test_answers_of_different_sizes_are_not_compared():
    control = Concurrency(6)
    for _ in range(50):
        control.answered("1m", 390, 60.0)
        control.answered("1m", 1950, 210.0)
        control.answered("1d", 2500, 320.0)
    assert control.allowed == 6

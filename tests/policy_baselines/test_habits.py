"""policy/baselines.py: what is sudden is strange, what is usual is not, and what was strange is learnt slowly."""

from __future__ import annotations

import itertools
import json
from random import Random

import pytest

from bulkhead.policy.baselines import (
    LEARNING,
    MOST_HOSTS,
    NONE,
    Call,
    Habits,
    as_json,
    from_json,
    learnt,
    merged,
    strange,
)
from tests.policy_baselines.traffic import KINDS, calls

USUAL = Call(arguments=100, result=9_000, minute=3, hosts=("api.example.com",))


def after(*seen: Call, habits: Habits = NONE) -> Habits:
    for call in seen:
        habits = learnt(habits, call)
    return habits


LEARNT = after(*[USUAL] * LEARNING)


def texts(habits: Habits, call: Call) -> list[str]:
    return [it.text for it in strange(habits, call)]


ODD = {
    "a new host": (Call(hosts=("api.example.com", "evil.example.net")), "new host evil.example.net"),
    "a large result": (Call(result=450_000), "result of 450 kB where at most 9 kB were seen"),
    "large arguments": (Call(arguments=5_000), "arguments of 5 kB where at most 100 B were seen"),
    "a sudden rate": (Call(minute=30), "30 calls in a minute where at most 3 were seen"),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_sudden_is_strange_and_was_not_while_it_was_learnt(odd: str) -> None:
    call, text = ODD[odd]
    assert texts(LEARNT, call) == [text]
    assert texts(after(*[USUAL] * (LEARNING - 1)), call) == []
    assert texts(after(*[USUAL] * (LEARNING - 1), call), call) == []


@pytest.mark.parametrize(
    "call",
    [
        Call(hosts=("api.example.com",)),
        Call(result=9_000 * 15),
        Call(arguments=4_096),
        Call(minute=9),
        Call(minute=15),
        Call(),
    ],
)
def test_what_differs_a_little_is_not_strange(call: Call) -> None:
    assert texts(LEARNT, call) == []


def test_fifty_times_the_largest_is_strange_however_much_sizes_differ() -> None:
    random = Random(1)  # noqa: S311 - no secret
    habits = after(*(Call(result=round(10 ** random.uniform(1, 5))) for _ in range(500)))
    assert texts(habits, Call(result=round(habits.result.largest * 50)))
    assert not texts(habits, Call(result=round(habits.result.largest * 40)))


def test_a_tool_that_reaches_new_hosts_all_the_time_reaches_one_more() -> None:
    habits = after(*(Call(result=1, hosts=(f"h{number}.example.com",)) for number in range(30)))
    assert texts(habits, Call(hosts=("another.example.com",))) == []


def test_a_strange_host_is_known_after_some_calls() -> None:
    call = Call(result=1, hosts=("new.example.com",))
    habits = after(call, call, habits=LEARNT)
    assert texts(habits, call) == ["new host new.example.com"]
    assert texts(after(call, habits=habits), call) == []


def test_what_was_strange_is_learnt_in_small_steps() -> None:
    call, habits, told = Call(result=900_000), LEARNT, 0
    while texts(habits, call):
        habits, told = learnt(habits, call), told + 1
    assert 5 <= told <= 20


def test_one_large_result_does_not_blind_for_ever() -> None:
    habits = after(Call(result=4_000_000), *[USUAL] * LEARNING)
    assert texts(habits, Call(result=4_000_000)) == []
    habits = after(*[USUAL] * 20_000, habits=habits)
    assert texts(habits, Call(result=4_000_000))


def test_what_is_kept_is_bounded_and_comes_back_as_it_was() -> None:
    habits = after(*(Call(result=1, hosts=tuple(f"h{n}-{m}.example.com" for m in range(9))) for n in range(99)))
    assert len(habits.hosts) == MOST_HOSTS
    assert from_json(json.loads(json.dumps(as_json(habits)))) == habits
    assert len(json.dumps(as_json(habits))) < 4000
    for bad in (None, [], [1, 2, 3, 4, 5], {"a": 1}, [1, [1, 2, 3, 4], [1, 2, 3, 4], 1, {"h": "x"}]):
        with pytest.raises((TypeError, ValueError)):
            from_json(bad)


def test_two_that_learn_at_the_same_time_lose_nothing() -> None:
    ours = after(USUAL, Call(arguments=7_000, result=1, hosts=("ours.example.com",)), habits=LEARNT)
    theirs = after(Call(result=90_000, hosts=("api.example.com", "theirs.example.com")), habits=LEARNT)
    both = merged(LEARNT, ours, theirs)
    assert both.calls == LEARNING + 3
    assert (round(both.arguments.largest), round(both.result.largest)) == (125, 90_000)
    assert both.hosts == {"api.example.com": LEARNING + 2, "ours.example.com": -2, "theirs.example.com": -2}
    assert merged(LEARNT, ours, LEARNT) == ours
    assert merged(LEARNT, LEARNT, theirs)._replace(hosts={}) == theirs._replace(hosts={})


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("pages", "files")])
def test_after_a_clean_run_what_is_sudden_is_told(kind: str) -> None:
    for seed in range(10):
        habits = NONE
        for seen in itertools.islice(calls(kind, Random(seed)), 300):  # noqa: S311 - no secret
            habits = learnt(habits, Call(seen.arguments, seen.result, 3, seen.hosts))
        largest = max(4_097.0, habits.result.largest * 50)
        assert texts(habits, Call(result=round(largest)))
        assert texts(habits, Call(minute=30))
        assert texts(habits, Call(hosts=("evil.example.net",)))

"""Rule files: every mistake is an error with its file and line, loops are found, nothing else is raised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.reader import Reader
from gateway.errors import ConfigError
from gateway.rules.action import RuleFile
from gateway.rules.load import load, shipped_rules
from gateway.rules.loops import TriggerIndex
from gateway.rules.program import Program
from gateway.topic import filter_problem, overlaps


def action(name: str, on: str, to: str, more: str = "") -> str:
    return f"[[action]]\nname = '{name}'\non.topic = '{on}'\n{more}\ndo = [{{ publish = {{ topic = '{to}' }} }}]\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[action]]\nname = 'a'", "rule0.toml:1: action[0].do: required key is missing"),
        ("[[action]]\nnam = 'a'", 'rule0.toml:2: action[0].nam: unknown key; did you mean "name"?'),
        ("[[acton]]\nname = 'a'", 'acton: unknown key; did you mean "action"?'),
        (action("a", "t/+x", "o"), "rule0.toml:3: action[0].on.topic: must be a topic filter"),
        (action("a", "t", "o/+"), "rule0.toml:5: action[0].do[0].publish.topic: must be a topic without wildcards"),
        (action("a", "t", "o/{x}"), "action[0].do[0].publish.topic: in {x}: column 1: unknown name 'x'"),
        (action("a", "t", "o", 'when = "v >"'), "rule0.toml:4: action[0].when: ends too early"),
        (action("a", "t", "o", "when = 5"), "rule0.toml:4: action[0].when: expected text"),
        ("[[action]]\nname='a'\non.topic='t'\ndo=[]", "rule0.toml:4: action[0].do: must not be empty"),
        ("[[action]]\nname='a'\non.topic='t'\ndo=[{ batch = [] }]", "do[0].batch: must not be empty"),
        (
            "[[action]]\nname='a'\non.topic='t'\ndo=[{ batch = [" + "{topic='x'}," * 65 + "] }]",
            "do[0].batch: has 65 messages; a batch has at most 64",
        ),
        (
            "[[action]]\nname='a'\non.topic='t'\ndo=[{ batch = [{ topic = 'x' }, { topic = 'y', value = '1 +' }] }]",
            "do[0].batch[1].value",
        ),
        ("[[action]]\nname='a'\non.topic='t'\ndo=[{}]", "a step has exactly one of set, publish, batch"),
        ("[[action]]\nname='a'\non.topic='t'\ndo=[{log='x'}]", "rule0.toml:4: action[0].do[0].log: unknown key"),
        (
            "[[action]]\nname='a'\non.topic='t'\n[[action.do]]\nset={x='1'}\n[[action.do]]\nset={topic='1'}",
            "rule0.toml:7: action[0].do[1].set.topic: topic is built in",
        ),
        (
            "[[action]]\nname='a'\non.topic='t'\n[[action.do]]\nset={'if'='1', y='z', w=2020-01-01}",
            "rule0.toml:5: action[0].do[0].set.if: a name is made of letters",
        ),
        ("[[action]]\nname='a'\non.topic='t'\ndo=[{publish={topic='o',payload='x',value='v'}}]", "not both"),
        ("[[action]]\nname='a'\non.topic='t'\ndo=[{publish={topic='o',qos=3}}]", "publish.qos: must be one of 0, 1, 2"),
        (
            "[[action]]\nname='a'\non.topic='t'\ndo=[{publish={topic='o',expires='0s'}}]",
            "expires: must be longer than 0",
        ),
        (
            "[[action]]\nname='a'\non.topic='t'\ndo=[{publish={topic='o',payload='{'}}]",
            "payload: character 1: '{' without '}'",
        ),
        ("[[action]]\nname='a'\non.topic='t'\ndo=[{publish={topic='o',value={a='v +'}}}]", "value: a: ends too early"),
        (
            action("a", "t", "o") + action("a", "u", "o"),
            'rule0.toml:7: action[1].name: "a" is the name of an action in',
        ),
        ("[[case]]\nname='c'\ngiven=[{topic='a/#'}]\nexpect=[]", "case[0].given[0].topic: must be a topic name"),
        ("[[case]]\nname='c'\ngiven=[{topic='a',payload='',value=1}]\nexpect=[]", "not both"),
        ("[[action]\n", "rule0.toml:1: not valid TOML"),
    ],
)
def test_mistake_with_its_line(rules: Any, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(text)
    assert problem in str(caught.value)


def test_all_problems_of_all_files_at_once(rules: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(action("a", "t", "{x}", "when = 'y'"), action("b", "t", "{x}"), action("c", "t", "{x}"))
    assert [line[:12] for line in caught.value.problems] == [
        "rule0.toml:4",
        "rule0.toml:5",
        "rule1.toml:5",
        "rule2.toml:5",
    ]


def test_too_many_steps_and_names(rules: Any) -> None:
    sets = ", ".join("{ set = { x = '1' } }" for n in range(257))
    with pytest.raises(ConfigError, match="has 257 steps; an action has at most 256"):
        rules(f"[[action]]\nname='a'\non.topic='t'\ndo=[{sets}]")
    names = ", ".join(f"x{n} = '1'" for n in range(70))
    with pytest.raises(ConfigError, match="may set 64 names, not 70"):
        rules(f"[[action]]\nname='a'\non.topic='t'\ndo=[{{ set = {{ {names} }} }}]")


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ([("a", "x", "x")], '"a" publishes x and runs "a"'),
        ([("a", "x/+", "x/{v}")], '"a" publishes x/+ and runs "a"'),
        ([("a", "x", "$delayed/60/x")], '"a" publishes x and runs "a"'),
        ([("a", "#", "alarm")], '"a" publishes alarm and runs "a"'),
        ([("a", "in/#", "in/{topic}")], '"a" publishes in/# and runs "a"'),
        (
            [("a", "x", "y"), ("b", "y", "z/{topic.1}"), ("c", "z/+", "x")],
            '"a" publishes y and runs "b", which publishes z/+ and runs "c", which publishes x and runs "a"',
        ),
    ],
)
def test_loop_is_found_and_can_be_allowed(rules: Any, files: list[tuple[str, str, str]], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(*[action(*file) for file in files])
    assert caught.value.problems[0].startswith("rule0.toml:5: action[0].do: " + path)
    allowed = [action(*file, more="loop = true" if index == 0 else "") for index, file in enumerate(files)]
    assert len(rules(*allowed).actions) == len(files)
    disabled = [action(*file, more="enabled = false" if index == 0 else "") for index, file in enumerate(files)]
    assert len(rules(*disabled).actions) == len(files)


def test_a_chain_and_a_diamond_are_no_loops(rules: Any) -> None:
    rules(*[action(f"r{n}", f"t/{n}", f"t/{n + 1}") for n in range(20)])
    rules(
        action("a", "s", "l"),
        action("b", "s", "r"),
        action("c", "l", "e"),
        action("d", "r", "e"),
        action("e", "e", "f"),
    )
    rules(action("a", "+/x", "$SYS/x"))


_FILTERS = st.lists(st.sampled_from(["a", "b", "+", "#", "$S", ""]), min_size=1, max_size=4).map("/".join)


@given(st.lists(_FILTERS, max_size=6), _FILTERS)
def test_index_finds_what_overlaps_says(triggers: list[str], output: str) -> None:
    if any(filter_problem(text) for text in [*triggers, output]):
        return
    programs = [Program("", [trigger], [], None, []) for trigger in triggers]
    found = list(TriggerIndex(programs).overlapping([output]))
    assert {program.triggers[0] for program in found} == {trigger for trigger in triggers if overlaps(trigger, output)}


_TOML = st.recursive(
    st.one_of(
        st.sampled_from(
            ["'v > 1'", "'a/{topic.1}'", "'{'", "''", "1", "-1", "nan", "true", "2020-01-01", "'x'", '"\\u0000"']
        ),
        st.text(alphabet="abv{}().+#/ 1[]", max_size=8).map(lambda text: f"'{text}'"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(
            st.sampled_from(["topic", "set", "publish", "payload", "value", "qos", "x", "expires", "at", "'a b'"]),
            inner,
            max_size=3,
        ).map(lambda table: "{" + ", ".join(f"{key} = {item}" for key, item in table.items()) + "}"),
    ),
    max_leaves=8,
)
_KEYS = [
    "name",
    "on",
    "when",
    "do",
    "enabled",
    "loop",
    "given",
    "expect",
    "errors",
    "on.topic",
    "x",
    "topic",
    "format",
    "to",
    "field",
    "must",
]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["action", "case", "codec", "schema", "model"]),
            st.dictionaries(st.sampled_from(_KEYS), _TOML, max_size=6),
        ),
        max_size=3,
    )
)
def test_any_rule_file_is_loaded_or_a_config_error(tmp_path: Path, tables: list[tuple[str, dict[str, str]]]) -> None:
    text = "\n".join(
        f"[[{name}]]\n" + "\n".join(f"{key} = {item}" for key, item in keys.items()) for name, keys in tables
    )
    path = tmp_path / "fuzz.toml"
    path.write_text(text, encoding="utf-8")
    try:
        load([path])
    except ConfigError as error:
        assert all(problem.startswith("fuzz.toml") for problem in error.problems)


def test_shipped_rules_are_found() -> None:
    assert len(list(shipped_rules().glob("*.toml"))) >= 3


def test_a_step_that_is_wrong_leaves_the_others_their_numbers(rules: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        rules("""[[action]]
name = "a"
on = { topic = "a" }
when = "nothing"
do = [
  { set = { c = "v" }, case = "x" },
  { if = "c", then = [{ set = { d = "c" }, case = "y" }, { set = { e = "d +" } }] },
  { publish = { topic = "b", value = "c + d" } },
]
""")
    assert [problem.split("; put it")[0] for problem in caught.value.problems] == [
        "rule0.toml:4: action[0].when: column 1: unknown name 'nothing'",
        'rule0.toml:6: action[0].do[0].case: expected a list, found text "x"',
        'rule0.toml:7: action[0].do[1].then[0].case: expected a list, found text "y"',
    ]


class Looked(list[Any]):
    """Counts how often somebody goes through it."""

    times = 0

    def __iter__(self) -> Any:
        self.times += 1
        return super().__iter__()


def test_the_work_does_not_grow_with_the_square_of_the_problems() -> None:
    reader = Reader(Path(), None)
    reader.problems = looked = Looked()
    wrong = {"name": "a", "on": {"topic": "a"}, "when": "nothing", "do": [{"set": {"x": "1 +"}}]}
    reader.section(RuleFile, {"action": [wrong] * 200}, ())
    assert (len(looked), looked.times) == (400, 0)


def test_a_problem_quotes_no_more_than_a_person_reads(rules: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(f'[[model]]\nname = "m"\ntwin = "{"a" * 70_000}"\n[{"k" * 70_000}]\n')
    assert [len(problem) < 5000 for problem in caught.value.problems] == [True] * len(caught.value.problems)
    assert caught.value.problems[0].startswith("rule0.toml:")


def test_a_step_whose_verb_is_wrong_is_one_mistake(rules: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        rules("""[[action]]
name = "a"
on = { topic = "a" }
do = [
  { publish = { topic = "b", value = "1", expires = "-5s" } },
  { if = "1", then = [{ keep = { name = 5, value = "1" } }] },
]
""")
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "action[0].do[0].publish.expires",
        "action[0].do[1].then[0].keep.name",
    ]
    with pytest.raises(ConfigError, match="a step has exactly one of set, .*; here: none"):
        rules('[[action]]\nname = "a"\non = { topic = "a" }\ndo = [{ name = "x" }]\n')
    with pytest.raises(ConfigError, match="if needs it"):
        rules('[[action]]\nname = "a"\non = { topic = "a" }\ndo = [{ if = "1" }]\n')

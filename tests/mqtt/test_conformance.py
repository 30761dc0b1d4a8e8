"""The table of statements is whole: each is shown or explained, and the page is up to date."""

from __future__ import annotations

import re

import pytest

from mqtt.conformance import PAGE, ROOT, VERSIONS, cases_by_statement, codec_rows_by_statement, read_statements, render

_TEST = re.compile(r"`(tests/[\w/.]+)(?:::(\w+))?`")


@pytest.mark.parametrize("version", VERSIONS)
def test_each_statement_is_shown_or_explained(version: str) -> None:
    shown = set(cases_by_statement(version)) | set(codec_rows_by_statement(version))
    assert not [one.id for one in read_statements(version) if one.id not in shown and not one.note]


@pytest.mark.parametrize("version", VERSIONS)
def test_tests_name_only_statements_that_there_are(version: str) -> None:
    known = {one.id for one in read_statements(version)}
    assert not set(cases_by_statement(version)) - known
    assert not set(codec_rows_by_statement(version)) - known


@pytest.mark.parametrize("version", VERSIONS)
def test_notes_name_tests_that_there_are(version: str) -> None:
    for statement in read_statements(version):
        for path, name in _TEST.findall(statement.note):
            file = ROOT / path
            assert file.exists(), statement
            assert not name or f"def {name}(" in file.read_text(), statement


def test_the_standards_have_this_many_statements() -> None:
    assert [len({one.id for one in read_statements(version)}) for version in VERSIONS] == [141, 251]


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render(), "run python tests/mqtt/conformance.py"

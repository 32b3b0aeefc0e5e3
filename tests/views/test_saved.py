"""What every view that survives a saved notebook shares."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from tracelab.views.saved import View, iframe, page, script_of


class Words(View):
    table = None  # type: ignore[assignment]

    def to_text(self):
        return "words"

    def _page(self):
        return "<!doctype html><p>words</p>"

    def _cell(self):
        return "<p>words</p>"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_a_cell_has_html_and_text_and_leaves_out_what_is_not_wanted():
    assert Words()._repr_mimebundle_() == {"text/html": "<p>words</p>", "text/plain": "words"}
    assert Words()._repr_mimebundle_(include=["text/plain"]) == {"text/plain": "words"}
    assert Words()._repr_mimebundle_(exclude=["text/html"]) == {"text/plain": "words"}


def test_a_page_is_written_where_it_was_asked_for(tmp_path):
    path = Words().to_html(tmp_path / "words.html")
    assert path.read_text() == Words().to_html() == "<!doctype html><p>words</p>"


def test_an_iframe_carries_a_page_unchanged_and_may_only_run_scripts():
    document = "<p title=\"a\" id='b'>&amp; &quot; <b>&lt;/iframe&gt;</b></p>"
    [(tag, attributes)] = Tags(iframe(document, title='a "title"', height=10)).found
    assert tag == "iframe"
    assert attributes["srcdoc"] == document
    assert attributes["sandbox"] == "allow-scripts"
    assert attributes["title"] == 'a "title"'


def test_a_page_lets_its_own_script_run_and_nothing_else():
    text = page(title="<t>", body="<p>b</p>", style="p{}", script="let a = 1;")
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "<title>&lt;t&gt;</title>" in text
    assert "script-src" not in page(title="t", body="", style="")


@pytest.mark.parametrize("script", ["'</script>'", "'</SCRIPT '", "'<!--'"])
def test_a_script_that_would_end_early_is_refused(script):
    with pytest.raises(ValueError, match="end early"):
        page(title="t", body="", style="", script=script)


def test_making_views_imports_neither_plotly_nor_widgets():
    code = (
        "import sys, pandas as pd; from tracelab.profile import Profile\n"
        "from tracelab.views import event_rate, findings, flamegraph, summary\n"
        "flamegraph.FlameGraph(Profile.from_collapsed({'a;b': 1}))._repr_mimebundle_()\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'plotly', 'anywidget', 'ipywidgets', 'IPython'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", ["flamegraph.js", "event_rate.js"])
def test_a_module_for_a_page_has_no_export_left_and_no_comment_lines(name):
    source = script_of((name,), "saved.js")
    assert not re.search(r"^\s*(//|export\b)", source, re.MULTILINE)
    assert f"const view = {name.removesuffix('.js')};" in source

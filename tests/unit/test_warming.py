"""Nothing that threads share is made while they read Markdown."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: whoever read Markdown before would have filled the tables.
READS = """
import mdurl._decode, mdurl._encode
from {module} import {function} as read
from markdown_it.ruler import Ruler

made, compiling = [], Ruler.__compile__
Ruler.__compile__ = lambda self: (made.append("rules"), compiling(self))
tables = (mdurl._encode.encode_cache, mdurl._decode.decode_cache)
before = [set(table) for table in tables]
for words in ("[a](https://shop.example/?x=ä)", "<https://shop.example/ä>", "![a](https://shop.example/ä)", "*one*\\n\\n- two"):
    read(words)
assert before == [set(table) for table in tables], "a table of addresses"
assert not made, made
"""


@pytest.mark.parametrize(
    ("module", "function"), [("messages.mail", "words_to_html"), ("bot.channels.slack.text", "to_mrkdwn")]
)
def test_reading_makes_no_table_that_threads_share(module: str, function: str) -> None:
    done = subprocess.run([sys.executable, "-c", READS.format(module=module, function=function)], capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr

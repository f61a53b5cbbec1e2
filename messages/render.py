"""Safe rendering: which templates may run at all, and how much they may say.

Templates come from the product or from the shop, values come from anybody. A template therefore passes an
allow-list of syntax before it is compiled (no calls, no attributes, no loops, no arithmetic: what cannot be
written cannot be abused), runs in Jinja2's immutable sandbox, and its output is capped. Customer text is
always a value, never a template. Choosing and naming templates is the catalogue's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError
from jinja2.loaders import BaseLoader
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from messages.errors import TemplateError

# A message longer than this is a mistake; the promise is "no template exceeds 1 MB".
MAX_OUTPUT_CHARACTERS = 1_000_000
MAX_TEMPLATE_CHARACTERS = 64_000
# So deep may conditions, filters and brackets lie in each other: Python's own compiler takes time that doubles with
# each level of brackets (300 took half a minute), and gives up at a hundred.
MAX_DEPTH = 20
MAX_LINE_VALUE = 200
MAX_TEXT_VALUE = 20_000
_BRACKETS = re.compile(r"[<>\[\]`]")
_WEB_ADDRESS = re.compile(r"https?://[^\s<>\"'`\\]{1,2000}")

ALLOWED_FILTERS = frozenset({"capitalize", "default", "e", "escape", "lower", "title", "trim", "upper"})
ALLOWED_TESTS = frozenset({"none", "defined"})
_ALLOWED_NODES = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.If,
    nodes.CondExpr,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Compare,
    nodes.Operand,
    nodes.Filter,
    nodes.Test,
)
_OPERATORS = {
    nodes.Mul: "repetition `*`",
    nodes.Pow: "power `**`",
    nodes.Mod: "formatting `%`",
    nodes.Getattr: "attribute access",
    nodes.Getitem: "subscripts",
    nodes.Call: "calls",
    nodes.For: "loops",
}


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's immutable sandbox with the multiplying operators intercepted as a second line of defence."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        raise SecurityError(f"the operator {operator} is not allowed in a template")

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return False


def environment(loader: BaseLoader | None = None) -> Sandbox:
    """Make the one environment that templates run in; `.mjml` and `.html` are escaped automatically."""
    return Sandbox(
        loader=loader,
        undefined=StrictUndefined,
        autoescape=lambda name: bool(name and name.endswith((".mjml", ".html"))),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        cache_size=1000,
    )


def check_source(sandbox: Sandbox, source: str, where: str) -> frozenset[str]:
    """Refuse a template that uses anything outside the allow-list; return the names that it reads.

    Raises
    ------
    TemplateError
        Naming the file, the line and what is not allowed.
    """
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise TemplateError(f"{where}: longer than {MAX_TEMPLATE_CHARACTERS} characters; shorten it")
    try:
        tree = sandbox.parse(source, filename=where)
    except TemplateSyntaxError as error:
        raise TemplateError(f"{where}:{error.lineno}: {error.message}") from error
    except (RecursionError, ValueError) as error:  # far too deep, or a number of thousands of digits
        raise TemplateError(
            f"{where}: too deep or too long an expression; use values, `if` and simple filters"
        ) from error
    names: set[str] = set()
    for node, depth in _walk(tree):
        if depth > MAX_DEPTH:
            raise TemplateError(f"{where}:{node.lineno}: more than {MAX_DEPTH} levels deep; write it more simply")
        if not isinstance(node, _ALLOWED_NODES):
            what = next((text for kind, text in _OPERATORS.items() if isinstance(node, kind)), type(node).__name__)
            raise TemplateError(f"{where}:{node.lineno}: {what} is not allowed; use values, `if` and simple filters")
        if isinstance(node, nodes.Filter) and node.name not in ALLOWED_FILTERS:
            known = ", ".join(sorted(ALLOWED_FILTERS))
            raise TemplateError(f"{where}:{node.lineno}: the filter {node.name} is not allowed; allowed: {known}")
        if isinstance(node, nodes.Test) and node.name not in ALLOWED_TESTS:
            raise TemplateError(f"{where}:{node.lineno}: the test {node.name} is not allowed")
        if isinstance(node, nodes.Name):
            names.add(node.name)
    return frozenset(names)


def only_shown(sandbox: Sandbox, source: str, names: Collection[str]) -> bool:
    """Say whether a checked template does nothing with some values but show them, and ask whether there is one."""
    tree = sandbox.parse(source)
    plain: list[nodes.Node] = [node for output in tree.find_all(nodes.Output) for node in output.nodes]
    asked: list[nodes.Node] = [node.test for node in tree.find_all(nodes.If)]
    while asked:
        node = asked.pop()
        if isinstance(node, (nodes.And, nodes.Or, nodes.Not)):
            asked.extend(node.iter_child_nodes())
        else:
            plain.append(node)
    used = [node for node in tree.find_all(nodes.Name) if node.name in names]
    return all(any(node is one for one in plain) for node in used)


def _walk(tree: nodes.Node) -> Iterator[tuple[nodes.Node, int]]:
    """Yield every node with its depth, without recursion: the tree may be as deep as the template is long."""
    left = [(tree, 0)]
    while left:
        node, depth = left.pop()
        yield node, depth
        left.extend((child, depth + 1) for child in node.iter_child_nodes())


def compile_source(sandbox: Sandbox, source: str, where: str) -> Template:
    """Check and compile a template.

    Raises
    ------
    TemplateError
        The template is unsafe or no template at all.
    """
    check_source(sandbox, source, where)
    code = sandbox.compile(source, name=where, filename=where)
    return Template.from_code(sandbox, code, sandbox.make_globals(None))


def run(template: Template, values: Mapping[str, Any], where: str) -> str:
    """Render a compiled template, stopping at the cap.

    Raises
    ------
    TemplateError
        A value is missing, or the message would be longer than `MAX_OUTPUT_CHARACTERS`.
    """
    parts: list[str] = []
    length = 0
    try:
        for part in template.generate(**values):
            length += len(part)
            if length > MAX_OUTPUT_CHARACTERS:
                raise TemplateError(f"{where}: the message is longer than {MAX_OUTPUT_CHARACTERS} characters")
            parts.append(part)
    except UndefinedError as error:
        raise TemplateError(f"{where}: {error.message}; pass the value or name it in meta.yaml with `?`") from error
    except SecurityError as error:
        raise TemplateError(f"{where}: {error}") from error
    return "".join(parts)


def line_value(value: object) -> str:
    """Turn data into one harmless line: no line breaks, control characters, markup brackets or backticks."""
    text = str(value)[: MAX_LINE_VALUE * 4].replace("\n", " ")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(_BRACKETS.sub("", text).split())[:MAX_LINE_VALUE]


def text_value(value: object) -> str:
    """Turn data into several lines of plain words, without control characters."""
    text = str(value)[:MAX_TEXT_VALUE].replace("\r\n", "\n").replace("\r", "\n")
    if not text.replace("\n", "").isprintable():
        text = "".join(c for c in text if c.isprintable() or c == "\n")
    return text.strip()


def url_value(value: object) -> str | None:
    """Return a web address as it is, and anything else as None (a script or file address never travels)."""
    text = str(value).strip()
    return text if _WEB_ADDRESS.fullmatch(text) else None


VALUE_TYPES: dict[str, Callable[[object], str | None]] = {"line": line_value, "text": text_value, "url": url_value}

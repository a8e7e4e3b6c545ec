"""Parse templates and expressions with Jinja2, and count the steps of parsing.

What is accepted does not depend on the stack that is left: brackets are counted before the parser recurses.
"""

from __future__ import annotations

import re
from functools import lru_cache

from jinja2 import Environment, nodes

from compozy.workflows.expressions.bounds import TemplateLimits

TEMPLATE, EXPRESSION = "template", "expression"

# A quote that is not closed reaches to the end, which keeps the search linear.
_CODE = re.compile(r"""(?s)\{[{%](?:"(?:\\.?|[^"\\])*+(?:"|\Z)|'(?:\\.?|[^'\\])*+(?:'|\Z)|(?![}%]\}).)*""")
_DASHED_TASK = re.compile(r"\btasks\s*\.\s*([a-z0-9_]+(?:-[a-z0-9_]+)+)(?=\s*\.\s*[a-z])")
_LEADING_DOT = re.compile(r"(\{\{[-+]?\s*)\.(?=[A-Za-z_])")


@lru_cache(maxsize=512)
def parsing_steps(text: str, mode: str) -> int:
    """Return the steps of parsing a text; they count each time, so that a replay with compiled ones ends alike."""
    return len(text) // 64 + 6 * (len(text) if mode == EXPRESSION else sum(map(len, _CODE.findall(text))))


def parse(text: str, mode: str, limits: TemplateLimits) -> nodes.Template:
    """Return the syntax tree of a template, or of an expression as a template that writes it.

    Raises:
        OverflowError: it is too long.
        RecursionError: it is nested too deeply.
        TemplateSyntaxError: it is not readable.
        ValueError: a number has too many digits.
    """
    if len(text) > limits.template_chars:
        raise OverflowError(f"it is longer than {limits.template_chars} characters")
    return _environment().parse(_prepared(f"{{{{ {text} }}}}" if mode == EXPRESSION else text, limits))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(autoescape=False, keep_trailing_newline=True, optimized=False)  # noqa: S701 - no HTML


def _prepared(text: str, limits: TemplateLimits) -> str:
    """Write `tasks.a-b.output` as `tasks['a-b'].output` and `{{ .a }}` as `{{ a }}`; bound the parser's stack."""
    if sum(map(text.count, "([{")) <= limits.brackets and not (_DASHED_TASK.search(text) or _LEADING_DOT.search(text)):
        return text
    # The parser of Jinja2 calls itself for each bracket and would end the process in a stack overflow; the lexer does
    # not.
    depth, code, parts = 0, "", []
    for _, token, piece in (*_environment().lex(text), (0, "data", "")):
        depth += token == "operator" and (piece in "([{") - (piece in ")]}")
        if depth > limits.brackets:
            raise RecursionError
        if token in ("data", "string"):
            parts += [_DASHED_TASK.sub(r"tasks['\1']", _LEADING_DOT.sub(r"\1", code)), piece]
            code = ""
        else:
            code += piece
    return "".join(parts)

"""Describe any exception of foreign code in one line."""

from __future__ import annotations

_MOST = 5
_DEPTH = 5
_NO_TEXT = "(no text)"


def describe_error(error: BaseException, depth: int = _DEPTH) -> str:
    """Return the text of an exception, with those of the errors of a group, or of the cause of one without a text.

    >>> describe_error(ExceptionGroup("two failed", [ValueError("no"), OSError("closed")]))
    'two failed (2 sub-exceptions): ValueError: no; OSError: closed'
    >>> describe_error(RuntimeError())
    '(no text)'
    """
    text = _text(error) or _NO_TEXT
    if depth == 0:
        return text
    if isinstance(error, BaseExceptionGroup):
        inner = "; ".join(named_error(one, depth - 1) for one in error.exceptions[:_MOST])
        return f"{text}: {inner}"
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"caused by {named_error(cause, depth - 1)}" if cause is not None and text == _NO_TEXT else text


def named_error(error: BaseException, depth: int = _DEPTH) -> str:
    """Return the name of the exception's class and its description."""
    return f"{type(error).__name__}: {describe_error(error, depth)}".removesuffix(f": {_NO_TEXT}")


def _text(error: BaseException) -> str:
    try:
        return str(error).strip()
    except Exception as failure:  # noqa: BLE001 - the code of the exception's class is foreign
        return f"(its text raised {type(failure).__name__})"

"""Attempts to leave the template sandbox: none reaches a Python object, a module, a file or the environment."""

from __future__ import annotations

import os
from typing import Any

import pytest

from compozy.workflows.expressions.templates import TemplateProblem, render

SCOPE: dict[str, Any] = {"workflow": {"id": "w", "input": {"text": "abc", "list": [1], "map": {"a": 1}, "n": 3}}}
TEXT = "workflow.input.text"
ATTEMPTS = [
    pytest.param(f"{{{{ {TEXT}.__class__.__mro__[1].__subclasses__() }}}}", id="subclasses"),
    pytest.param(f"{{{{ {TEXT}['__class__'] }}}}", id="subscript"),
    pytest.param(f"{{{{ {TEXT} | attr('__class__') }}}}", id="attr-filter"),
    pytest.param(f"{{{{ [{TEXT}] | map(attribute='__class__') | list }}}}", id="map-attribute"),
    pytest.param(f"{{{{ [{TEXT}] | map('attr', '__class__') | list }}}}", id="map-attr"),
    pytest.param(f"{{{{ [{TEXT}] | groupby('__class__') }}}}", id="groupby"),
    pytest.param(f"{{{{ [{TEXT}] | selectattr('__class__') | list }}}}", id="selectattr"),
    pytest.param(f"{{{{ [{TEXT}] | sort(attribute='__class__.__name__') }}}}", id="sort-attribute"),
    pytest.param(f"{{{{ '{{0.__class__}}'.format({TEXT}) }}}}", id="format"),
    pytest.param("{{ '{a.__class__}'.format_map(workflow.input.map) }}", id="format-map"),
    pytest.param(f"{{{{ '%(x)s' | format(x={TEXT}.__class__) }}}}", id="format-filter"),
    pytest.param("{{ range.__init__.__globals__ }}", id="globals-of-range"),
    pytest.param("{{ dict.mro() }}", id="mro-of-dict"),
    pytest.param("{{ namespace.__init__.__globals__['os'] }}", id="globals-of-namespace"),
    pytest.param("{{ self.__init__.__globals__ }}", id="self"),
    pytest.param("{{ self._TemplateReference__context }}", id="self-context"),
    pytest.param("{{ cycler.__init__.__globals__.os.environ }}", id="cycler"),
    pytest.param("{{ joiner.__init__.__globals__.os }}", id="joiner"),
    pytest.param("{{ lipsum.__globals__.os.popen('id').read() }}", id="lipsum"),
    pytest.param("{{ config.items() }}", id="config"),
    pytest.param("{{ request.application }}", id="request"),
    pytest.param("{{ nothing.__class__ }}", id="undefined"),
    pytest.param("{{ (nothing | default(x)).__class__ }}", id="undefined-default"),
    pytest.param("{% for x in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}", id="loop"),
    pytest.param("{% macro m() %}{% endmacro %}{{ m.__globals__ }}", id="macro"),
    pytest.param("{% macro m() %}{% endmacro %}{{ m._func.__code__ }}", id="macro-function"),
    pytest.param("{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}", id="caller"),
    pytest.param("{% set ns = namespace() %}{{ ns.__class__ }}", id="namespace"),
    pytest.param("{% include '/etc/passwd' %}", id="include"),
    pytest.param("{% import 'os' as os %}{{ os }}", id="import"),
    pytest.param("{% extends '/etc/passwd' %}", id="extends"),
    pytest.param("{{ workflow.input.list.append(2) }}", id="append"),
    pytest.param("{{ workflow.input.map.update({'b': 2}) }}", id="update"),
    pytest.param("{{ workflow.input.list.sort.__self__ }}", id="method-self"),
    pytest.param("{{ (workflow.input.n).__add__(1) }}", id="operator-method"),
    pytest.param("{{ ().__class__.__base__ }}", id="tuple"),
    pytest.param(f"{{{{ {TEXT}[('__cla' ~ 'ss__')] }}}}", id="joined-name"),
    pytest.param(f"{{{{ {TEXT}['\\x5f\\x5fclass\\x5f\\x5f'] }}}}", id="escaped-name"),
]


@pytest.mark.parametrize("template", ATTEMPTS)
def test_template_cannot_leave_sandbox(template: str) -> None:
    """Each attempt ends as a problem of the template; the values of the execution stay as they are."""
    before = repr(SCOPE)
    with pytest.raises(TemplateProblem) as caught:
        render(template, SCOPE)
    assert os.environ["PATH"] not in str(caught.value)
    assert repr(SCOPE) == before

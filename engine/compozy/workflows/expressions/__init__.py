"""Templates and expressions: an allow-list over the syntax tree of Jinja2, compiled into bounded functions."""

TEMPLATE_MARKS = ("{{", "{%", "{#")

"""Constructs of Jinja2 and other languages that templates do not have, each with its advice: data of the findings."""

SIGNS = {
    "&&": "write and for &&",
    "||": "write or for ||",
    "?": "write X if CONDITION else Y",
    "!": "write not for !",
}
CALLS = {
    "contains": "write part in text",
    "endsWith": "use the filter: | endswith",
    "has": "write x is defined",
    "size": "use the filter: | length",
    "startsWith": "use the filter: | startswith",
}
# By the class of the node: how it is written, and the advice.
CONSTRUCTS = {
    "Assign": ("{% set %}", "give the value a task of its own"),
    "AssignBlock": ("{% set %}", "give the value a task of its own"),
    "CallBlock": ("{% call %}", "repeat the text, or use a tool"),
    "FilterBlock": ("{% filter %}", "use the filter in an expression"),
    "Macro": ("{% macro %}", "repeat the text, or use a tool"),
    "Slice": ("a slice", "use first, last or truncate, or a tool"),
}

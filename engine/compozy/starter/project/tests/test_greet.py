"""Run with `pytest`; the plugin of Compozy starts what a test needs, and timers take no time."""


def test_greet(compozy_workflows):
    execution = compozy_workflows.run("greet", {"name": "Ada"})
    assert (execution.status, execution.output) == ("completed", {"greeting": "Hello, Ada!"})

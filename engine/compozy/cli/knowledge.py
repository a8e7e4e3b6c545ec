"""`compozy knowledge`: the knowledge bases of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from compozy.cli.completion import FILE
from compozy.cli.json_input import parse_json, read_argument, read_text_of
from compozy.cli.options import configuration_options, format_option, runs_project_code
from compozy.cli.output import print_failure, print_json, print_line, print_note, print_table, shown
from compozy.cli.prepare import project_client
from compozy.errors import UsageError

if TYPE_CHECKING:
    from compozy.client.knowledge_answers import BaseAnswer


@click.group(name="knowledge")
def command() -> None:
    """Ingest documents into knowledge bases and query them."""


@command.command(name="list", epilog="Example: compozy knowledge list")
@configuration_options
@format_option()
def list_(format_: str, strict: bool, **options: object) -> None:
    """List the knowledge bases."""
    with project_client(options, strict) as client:
        found = client.knowledge.bases()
    if format_ == "json":
        print_json(found.to_json())
    elif found.bases:
        rows = [(one.id, one.status, str(one.documents), str(one.chunks), one.finished_at or "") for one in found.bases]
        print_table(rows, ("BASE", "STATUS", "DOCUMENTS", "CHUNKS", "INGESTED"))
    else:
        print_line("no knowledge bases: declare one under knowledge.bases in compozy.yaml")


@command.command(epilog="Example: compozy knowledge show docs")
@click.argument("base")
@configuration_options
@format_option()
def show(base: str, format_: str, strict: bool, **options: object) -> None:
    """Show a knowledge base and its last ingestion."""
    with project_client(options, strict) as client:
        found = client.knowledge.base(base)
    facts = found.to_json()
    if format_ == "json":
        print_json(facts)
        return
    hidden = ("format_version", "failures", "joined")
    print_table([(key, shown(value)) for key, value in facts.items() if key not in hidden], ("FIELD", "VALUE"))
    if found.failures:
        print_line()
        print_table([(one.source, one.error) for one in found.failures], ("NOT INGESTED", "REASON"))


@command.command(epilog="Example: compozy knowledge ingest docs")
@click.argument("base")
@click.option("--rebuild", is_flag=True, help="Embed every document again, for example with another embedder.")
@click.option("--detach", is_flag=True, help="Do not wait for the end; needs a running server.")
@configuration_options
@format_option()
@runs_project_code
def ingest(base: str, rebuild: bool, detach: bool, format_: str, strict: bool, **options: object) -> int:
    """Bring a knowledge base up to date with its documents. Exit code 5: it failed, or with --strict a document did.

    Documents that did not change are left as they are; removed ones are removed. An ingestion that runs is joined.
    """
    with project_client(options, strict) as client:
        found = client.knowledge.ingest(base, rebuild=rebuild, wait=not detach, progress=print_progress)
    if format_ == "json":
        print_json(found.to_json())
    elif found.failure() is None:
        print_line(found.outcome())
    for failure in found.failures:
        print_note(f"{failure.source} was not ingested: {failure.error}")
    return _exit_code(found, strict)


def _exit_code(found: BaseAnswer, strict: bool) -> int:
    from compozy.knowledge.library import IngestionError

    reason = found.failure()
    if reason is None and strict and found.failed:
        reason = f"{found.failed} documents were not ingested"
    if reason is None:
        return 0
    error = IngestionError(found.id, reason)
    print_failure(error)
    return error.exit_code


def print_progress(found: BaseAnswer) -> None:
    """Print how far an ingestion is, where that is known."""
    line = found.progress()
    if line is not None:
        print_note(line)


@command.command(epilog="""Example: compozy knowledge query docs "When does the ferry leave?" """)
@click.argument("base")
@click.argument("query")
@click.option("--top-k", default=5, show_default=True, type=click.IntRange(1, 100), help="Results at most.")
@click.option("--min-score", type=float, help="The lowest score of a result.")
@click.option("--filter", "filter_", metavar="JSON|@FILE", help="Metadata that results have, as a JSON object.")
@configuration_options
@format_option()
def query(
    base: str, query: str, top_k: int, min_score: float | None, filter_: str | None, format_: str, strict: bool,
    **options: object,
) -> None:  # fmt: skip
    """Print the passages that answer a query, the best first."""
    from compozy.client.knowledge_answers import QueryRequest

    request = QueryRequest(query=query, top_k=top_k, min_score=min_score, filter=_filter(filter_))
    with project_client(options, strict) as client:
        found = client.knowledge.query(base, request)
    if format_ == "json":
        print_json(found.to_json())
        return
    for result in found.results:
        print_line(f"{result.source}, {result.place}  (score {result.score:.3f})")
        print_line("".join(f"    {line}".rstrip() + "\n" for line in result.text.splitlines()))
    if not found.results:
        print_line("no passage was found")


def _filter(text: str | None) -> dict[str, object]:
    hint = """write --filter '{"title": "Ferry"}'"""
    found = {} if text is None else parse_json(read_argument(text, "--filter"), "--filter", hint)
    if not isinstance(found, dict):
        raise UsageError("--filter is not a JSON object", hint=hint)
    return found


@command.command(epilog="Example: compozy knowledge evaluate docs questions.json")
@click.argument("base")
@click.argument("file", type=FILE)
@click.option("--top-k", default=5, show_default=True, type=click.IntRange(1, 100), help="Results of each question.")
@configuration_options
@format_option()
def evaluate(base: str, file: str, top_k: int, format_: str, strict: bool, **options: object) -> None:
    """Measure recall and mean reciprocal rank with known passages.

    The file is a JSON list of objects with question, source and, optionally, a text of the right passage.
    """
    from compozy.client.knowledge_answers import QueryRequest
    from compozy.knowledge.evaluation import Evaluation, read_questions

    questions = read_questions(parse_json(read_text_of(file, file), file), file)
    with project_client(options, strict) as client:
        requests = [QueryRequest(query=one.question, top_k=top_k) for one in questions]
        answers = [client.knowledge.query(base, request) for request in requests]
    found = Evaluation([one.rank(answer.results) for one, answer in zip(questions, answers, strict=True)])
    missed = [one.question for one, rank in zip(questions, found.ranks, strict=True) if rank is None]
    recall, mrr = round(found.recall, 3), round(found.mean_reciprocal_rank, 3)
    if format_ == "json":
        counts = {"base": base, "questions": len(questions), "top_k": top_k, "recall": recall, "mrr": mrr}
        print_json({**counts, "missed": missed})
        return
    print_line(f"{len(questions)} questions: recall@{top_k} {recall:.3f}, MRR {mrr:.3f}")
    for question in missed:
        print_line(f"not found: {question}")


@command.command(epilog="Example: compozy knowledge delete docs")
@click.argument("base")
@configuration_options
@format_option()
@runs_project_code
def delete(base: str, format_: str, strict: bool, **options: object) -> None:
    """Delete the documents of a knowledge base. The files stay."""
    with project_client(options, strict) as client:
        found = client.knowledge.delete(base)
    print_json(found.to_json()) if format_ == "json" else print_line(
        f"{base}: {found.documents} documents were deleted"
    )

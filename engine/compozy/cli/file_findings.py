"""Findings about the workflow files of a project, for commands that check without a server."""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Mapping

from compozy.base.findings import Finding
from compozy.base.source_file import UnreadableError, read_source
from compozy.resolution.resolve import Resolved


def workflow_findings(resolved: Resolved) -> tuple[Finding, ...]:
    """Return what is wrong with the workflow files; a project without any loads no code for them."""
    files = resolved.get("workflows") or ()
    if not files and not os.path.isdir(os.path.join(resolved.directory, "workflows")):
        return ()
    from compozy.workflows.read.workflow_files import WorkflowFiles, check_files

    directory = resolved.directory
    return check_files(WorkflowFiles(directory, tuple(files)), resolved, directory).findings


def file_texts(base: str, findings: Iterable[Finding]) -> Mapping[str, str]:
    """Return the texts of the files that findings point into, by the names in their places, relative to `base`."""
    texts = dict[str, str]()
    for name in {finding.where.place.file for finding in findings if finding.where.place}:
        try:
            texts[name] = read_source(os.path.join(base, name), own=False)
        except UnreadableError:
            continue
    return texts

"""How often a network is right, class by class, and what it takes a class for instead."""

from dataclasses import dataclass

import torch

from attnvgg_training.evaluation.accuracy import Accuracy, Answers, wilson


@dataclass(frozen=True)
class ClassAccuracy:
    """One class. accuracy: None where the split has no picture of it. confused_with: the wrong
    answer given most often, the first of the labels among equals, None if there was none; `times`:
    how often."""

    label: str
    accuracy: Accuracy | None
    confused_with: str | None
    times: int


def per_class(answers: Answers) -> list[ClassAccuracy]:
    """Every class, in the order of the labels."""
    count = len(answers.labels)
    pairs = answers.targets * count + answers.predicted
    # Rows: what a picture shows; columns: what was answered.
    matrix = torch.bincount(pairs, minlength=count * count).reshape(count, count)
    found = []
    for index, label in enumerate(answers.labels):
        row = matrix[index].clone()
        total, correct = int(row.sum()), int(row[index])
        row[index] = 0
        times = int(row.max())
        found.append(
            ClassAccuracy(
                label,
                wilson(correct, total) if total else None,
                answers.labels[int(row.argmax())] if times else None,
                times,
            )
        )
    return found


def table(rows: list[ClassAccuracy]) -> str:
    """The rows as text, a line each below a head."""
    width = max(len("class"), *(len(row.label) for row in rows))
    head = f"{'class':{width}}  pictures  correct  accuracy  95 % interval     taken for"
    return "\n".join([head, *(_line(row, width) for row in rows)])


def _line(row: ClassAccuracy, width: int) -> str:
    if row.accuracy is None:
        return f"{row.label:{width}}  {0:8d}"
    a = row.accuracy
    interval = f"{100 * a.low:.2f} to {100 * a.high:.2f}"
    taken = f"{row.confused_with} ({row.times})" if row.confused_with else "-"
    return (
        f"{row.label:{width}}  {a.total:8d}  {a.correct:7d}  {100 * a.rate:6.2f} %  "
        f"{interval:16}  {taken}"
    )

"""Cross-domain: do the frozen features serve another data set?

The descriptor of the frozen network, as it is and, as the authors have it, after the head's batch
norm and ReLU; features brought to mean 0 and variance 1, a linear SVM (scikit-learn's LinearSVC), C
of three by three-fold cross-validation on the training pictures. Five random splits with half of
each class's pictures for training, the same for all networks. Pictures are brought to the network's
input size and normalised with its own training set's statistics, as in the official notebooks;
kernel, C and splits are ours, as the official code has none.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from attnvgg_training import data
from attnvgg_training.errors import ConfigError, DataError
from attnvgg_training.evaluation.context import MAIN, Context, as_pixels
from attnvgg_training.evaluation.findings import Findings, Table
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.network import Head

SPLITS, FOLDS = 5, 3
COSTS = (1e-4, 1e-3, 1e-2)
Numbers = NDArray[np.float32]


def run(context: Context) -> Findings:
    """All networks given, on the data set of --pictures transfer=."""
    if "transfer" not in context.others:
        raise ConfigError(
            "--suite transfer needs another data set: --pictures transfer=SPEC, which is what "
            "--data takes"
        )
    found = {
        name: context.part(f"transfer/{name}", partial(_accuracies, context, subject), costs=COSTS)
        for name, subject in context.subjects.items()
    }
    rows = tuple(
        (
            name,
            kind,
            each["features"],
            100 * float(np.mean(each["accuracy"])),
            100 * float(np.std(each["accuracy"], ddof=1)),
        )
        for name, kinds in found.items()
        for kind, each in kinds.items()
    )
    columns = ("network", "features", "number", "mean accuracy, %", "standard deviation")
    count = next(iter(found.values()))["descriptor"]["pictures"]
    note = f"{count} pictures of {context.others['transfer']}, {SPLITS} splits."
    return Findings(
        _sentences(found), (Table("Linear SVM on frozen features", columns, rows, note),)
    )


def _accuracies(context: Context, subject: Subject) -> dict[str, dict[str, object]]:
    features, targets = descriptors(context, subject)
    splits = StratifiedShuffleSplit(SPLITS, test_size=0.5, random_state=context.seed)
    parts = list(splits.split(targets, targets))
    return {
        kind: {
            "features": values.shape[1],
            "pictures": len(targets),
            "accuracy": [scored(values, targets, *part) for part in parts],
        }
        for kind, values in features.items()
    }


def scored(
    values: Numbers, targets: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64]
) -> float:
    """Accuracy on `test` of an SVM that has seen `train` alone, C included."""
    machine = make_pipeline(StandardScaler(), LinearSVC(dual=True, max_iter=2000, random_state=0))
    search = GridSearchCV(machine, {"linearsvc__C": list(COSTS)}, cv=FOLDS)
    search.fit(values[train], targets[train])
    return float(search.score(values[test], targets[test]))


@torch.inference_mode()
def descriptors(context: Context, subject: Subject) -> tuple[dict[str, Numbers], NDArray[np.int64]]:
    """`descriptor` and `after batch norm and ReLU`, [N, D] each, with the classes [N]; pictures of
    classes with fewer than six are left out, as both halves need three.

    Raises:
        DataError: fewer than two classes are left.
    """
    config = replace(subject.record.config.data, subset=0, permute_labels=False)
    found = data.load(context.others["transfer"], config)
    raw, normed, targets = [], [], []
    for split in (found.train, found.test):
        for indices in torch.arange(len(split)).split(256):
            pixels = as_pixels(split.pixels(indices)).to(context.device)
            descriptor = subject.model.explain(pixels).descriptor
            raw.append(descriptor.float().cpu().numpy())
            normed.append(_normed(subject, descriptor).float().cpu().numpy())
            targets.append(split.targets[indices].cpu().numpy())
    classes = np.concatenate(targets)
    kept = np.bincount(classes, minlength=len(found.labels))[classes] >= 2 * FOLDS
    if len(np.unique(classes[kept])) < 2:
        raise DataError(
            f"--pictures transfer={context.others['transfer']} has fewer than two classes with "
            f"{2 * FOLDS} pictures or more"
        )
    values = {
        "descriptor": np.concatenate(raw)[kept],
        "after batch norm and ReLU": np.concatenate(normed)[kept],
    }
    return values, classes[kept]


def _normed(subject: Subject, descriptor: torch.Tensor) -> torch.Tensor:
    """What the head's linear layer sees."""
    head = subject.network.head
    if not isinstance(head, Head) or head.norms is None or not subject.network.level_names:
        return descriptor  # without levels that is what the descriptor is
    sizes = [norm.num_features for norm in head.norms]
    return head.features(list(descriptor.split(sizes, dim=1)))


def _sentences(found: dict[str, dict[str, dict[str, list[float]]]]) -> tuple[str, ...]:
    best = {
        name: max(float(np.mean(each["accuracy"])) for each in kinds.values())
        for name, kinds in found.items()
    }
    return tuple(
        f"On other pictures the features with attention give {100 * best[MAIN]:.1f} %, those of "
        f"{name} {100 * value:.1f} %."
        for name, value in best.items()
        if name.partition("#")[0] != MAIN
    )

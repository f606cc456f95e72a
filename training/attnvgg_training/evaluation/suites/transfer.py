"""Cross-domain: do the frozen features serve another data set?

The features that the frozen network's last linear layer sees, which with attention are, as the
authors have it, the descriptor after the head's batch norm and ReLU; with attention the descriptor
before them, too. Features brought to mean 0 and variance 1, a linear SVM (scikit-learn's SVC, one
class against one), C of three by three-fold cross-validation on the training pictures. Five random
splits with half of each class's pictures for training, the same for all networks. Pictures are
brought to the network's input size as the main network's are, and normalised with the network's own
training set's statistics, as in the official notebooks; kernel, C and splits are ours, as the
official code has none.

Networks are compared on the same splits by the features that the linear layer sees. The interval is
over splits: the t-interval of Nadeau and Bengio, "Inference for the Generalization Error", Machine
Learning 52, 2003, whose variance is enlarged because the splits share their pictures.
"""

from dataclasses import asdict, dataclass
from functools import cache, partial
from math import nan, sqrt
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t
from sklearn.metrics.pairwise import linear_kernel
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn

from attnvgg_training.errors import ConfigError, DataError
from attnvgg_training.evaluation.context import Context, as_pixels
from attnvgg_training.evaluation.findings import Findings, Interval, Row, Table
from attnvgg_training.evaluation.peers import called, lacking, peers, points
from attnvgg_training.evaluation.statistics import told
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.network import Head, Network

SPLITS, FOLDS = 5, 3
TESTED = 0.5  # part of the pictures
COSTS = (1e-3, 1e-2, 1e-1)
RAW, NORMED = "descriptor", "after batch norm and ReLU"
WORDS = ("serve worse than", "serve better than", "cannot be told apart from")
Numbers = NDArray[np.float32]
Indices = NDArray[np.int64]
Scores = dict[str, dict[str, list["Score"]]]
"""network -> kind of features -> one a split"""


@dataclass(frozen=True)
class Score:
    """features: how many. cost: the C chosen. right: 1 for each test picture of the split that is
    classified rightly, 0 for the others."""

    features: int
    cost: float
    right: list[int]

    @property
    def accuracy(self) -> float:
        """As a share."""
        return float(np.mean(self.right))


def run(context: Context) -> Findings:
    """All networks given but those of permuted labels, on the data set of --pictures transfer=.

    Raises:
        ConfigError: there is none.
        DataError: it cannot be read or is too small.
    """
    if "transfer" not in context.others:
        raise ConfigError(
            "--suite transfer needs another data set: --pictures transfer=SPEC, which is what "
            "--data takes"
        )
    kept, targets = pictures(context)
    drawn = StratifiedShuffleSplit(SPLITS, test_size=TESTED, random_state=context.seed)
    splits = list(drawn.split(targets, targets))
    found = {
        name: _scores(context, subject, kept, targets, splits)
        for name, subject in context.rightly_taught.items()
    }
    return Findings(_sentences(context, found), (_table(context, found, len(kept)),))


def pictures(context: Context) -> tuple[Indices, Indices]:
    """Numbers of pictures, those for testing after those for training, and their classes, [N] each;
    classes with fewer than six are left out, as both halves need three.

    Raises:
        DataError: fewer than two classes are left.
    """
    found = context.elsewhere
    classes = torch.cat([found.train.targets.cpu(), found.test.targets.cpu()]).numpy()
    kept = np.flatnonzero(np.bincount(classes)[classes] >= 2 * FOLDS)
    if len(np.unique(classes[kept])) < 2:
        raise DataError(
            f"--pictures transfer={context.others['transfer']} has fewer than two classes with "
            f"{2 * FOLDS} pictures or more"
        )
    return kept, classes[kept]


def _scores(
    context: Context,
    subject: Subject,
    kept: Indices,
    targets: Indices,
    splits: list[tuple[Indices, Indices]],
) -> dict[str, list[Score]]:
    """Kind of features -> one score a split; one part for each split."""
    features = cache(partial(_features, context, subject, kept))  # once, and only if wanted

    def compute(train: Indices, test: Indices) -> dict[str, dict[str, Any]]:
        return {
            kind: asdict(scored(values, targets, train, test))
            for kind, values in features().items()
        }

    config = context.main.record.config.data
    found: dict[str, list[Score]] = {}
    for number, (train, test) in enumerate(splits, start=1):
        part = context.part(
            f"transfer/split {number} of {SPLITS} {subject.name}",
            partial(compute, train, test),
            uses=[subject],
            seen=[config.image_size, config.geometry, config.filter],
            costs=COSTS,
        )
        for kind, score in part.items():
            found.setdefault(kind, []).append(Score(**score))
    return found


def scored(values: Numbers, targets: Indices, train: Indices, test: Indices) -> Score:
    """On `test`, of an SVM that has seen `train` alone, C included."""
    # "linear" is the same, product by product; this is one product of matrices, and several times
    # as fast.
    machine = make_pipeline(StandardScaler(), SVC(kernel=linear_kernel))
    search = GridSearchCV(machine, {"svc__C": list(COSTS)}, cv=FOLDS)
    exact = values.astype(np.float64)  # in float32 the deviation of a nearly dead feature may be 0
    search.fit(exact[train], targets[train])
    right = search.predict(exact[test]) == targets[test]
    cost = float(search.best_params_["svc__C"])
    return Score(values.shape[1], cost, right.astype(int).tolist())


@torch.inference_mode()
def _features(context: Context, subject: Subject, kept: Indices) -> dict[str, Numbers]:
    """Kind of features -> [N, D] of the pictures of these numbers."""
    found: dict[str, list[Numbers]] = {}
    data, numbers = context.elsewhere, torch.from_numpy(kept)
    first = numbers < len(data.train)
    parts = ((data.train, numbers[first]), (data.test, numbers[~first] - len(data.train)))
    for split, mine in parts:
        for indices in mine.split(context.batch_size) if len(mine) else ():
            images = split.pixels(indices.to(split.targets.device))
            descriptor = subject.model.explain(as_pixels(images).to(context.device)).descriptor
            for kind, values in features(subject.network, descriptor).items():
                found.setdefault(kind, []).append(values.float().cpu().numpy())
    return {kind: np.concatenate(values) for kind, values in found.items()}


def features(network: Network, descriptor: Tensor) -> dict[str, Tensor]:
    """Kind -> [B, D]; the last is what the linear layer sees. Without attention a descriptor
    [B, D] is that already, and without batch norm in the head it is so with attention, too."""
    head = network.head
    heads = [head] if isinstance(head, Head) else [cast(Head, each) for each in head]
    norms = [norm for each in heads for norm in each.norms or ()]
    if not norms:
        return {RAW: descriptor}
    if not network.level_names:
        return {NORMED: descriptor}
    vectors = descriptor.split([cast(nn.BatchNorm1d, norm).num_features for norm in norms], dim=1)
    if isinstance(head, Head):
        return {RAW: descriptor, NORMED: head.features(list(vectors))}
    normed = [each.features([vector]) for each, vector in zip(heads, vectors, strict=True)]
    return {RAW: descriptor, NORMED: torch.cat(normed, dim=1)}


def over_splits(first: list[float], second: list[float]) -> Interval:
    """The mean difference of what two networks reach on the same splits, first less second, with
    its 95 % interval (see the top); its bounds are no numbers where it is the same on all of them,
    but not 0."""
    less = np.asarray(first) - np.asarray(second)
    mean, spread = float(less.mean()), float(less.std(ddof=1))
    if mean and np.ptp(less) < 1e-9:  # rounding
        return Interval(mean, nan, nan)
    error = spread * sqrt(1 / len(less) + TESTED / (1 - TESTED))
    half = float(t.ppf(0.975, len(less) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def _table(context: Context, found: Scores, count: int) -> Table:
    rows: list[Row] = []
    for name, kinds in found.items():
        for kind, scores in kinds.items():
            reached = [100 * score.accuracy for score in scores]
            costs = ", ".join(f"{cost:g}" for cost in sorted({score.cost for score in scores}))
            mean, spread = float(np.mean(reached)), float(np.std(reached, ddof=1))
            rows.append((name, kind, scores[0].features, costs, mean, spread))
    columns = ("network", "features", "number", "C", "mean accuracy, %", "standard deviation")
    offered = ", ".join(f"{cost:g}" for cost in COSTS)
    note = (
        f"{count} pictures of {context.others['transfer']}, {SPLITS} splits; C, of {offered}, as "
        "chosen in each."
    )
    return Table("Linear SVM on frozen features", columns, tuple(rows), note)


def _sentences(context: Context, found: Scores) -> tuple[str, ...]:
    """By the features that the linear layer sees, the main network against its peers."""
    seen = {name: list(kinds.values())[-1] for name, kinds in found.items()}
    reached = {name: [score.accuracy for score in scores] for name, scores in seen.items()}
    mine = context.main.name
    said = lacking(context)
    for name in (peer.name for peer in peers(context)):
        more = over_splits(reached[mine], reached[name])
        numbers = [seen[each][0].features for each in (mine, name)]
        means = [100 * float(np.mean(reached[each])) for each in (mine, name)]
        said.append(
            f"On other pictures the {numbers[0]} features of {called(context.main)} "
            f"{told(more, *WORDS)} the {numbers[1]} of {name}, {means[0]:.1f} % and "
            f"{means[1]:.1f} %: {points(more)} of accuracy, an interval over {SPLITS} splits."
        )
    return tuple(said)

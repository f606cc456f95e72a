"""What g does: maps and logits with g as it is, with zeros in its place, with another picture's.

Under parametrised compatibility with softmax, <u, l + g> = <u, l> + <u, g>, and the last term, the
same at every position, is lost in the normalisation: exactly nothing can depend on g, in whatever
way it was trained. Under dot products g is the query, and under sigmoid it is a threshold:
everything may depend on it. Measured in float64, on the networks given that have a g
(`--beside dp=`, `--beside pc=`), and on untrained ones of the main network's plan, pc and dp, where
the statement must hold as well. The other picture is of another class.

The change of a map is its total variation distance, half of the sum of differences between maps
that sum to 1: 0 where both look at the same, 1 where they share nothing; of the level where it is
largest.
"""

import copy
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from attnvgg_training.evaluation.applied import partners, shares
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Findings, Row, Table
from attnvgg_training.evaluation.statistics import bootstrap
from attnvgg_training.evaluation.subject import Seeing, Subject
from attnvgg_training.models import build
from attnvgg_training.network import Network
from attnvgg_training.registry import NETWORKS

PICTURES = 200
U = 0.5  # standard deviation of u in untrained networks, so that their maps are far from even


def run(context: Context) -> Findings:
    """Every network with levels and a g."""
    networks: dict[str, Network] = {
        name: subject.network
        for name, subject in context.subjects.items()
        if subject.network.level_names and has_g(subject.network)
    }
    networks |= untrained(context.main)
    if not networks:
        return Findings(("None of the networks has both attention and a global feature.",))
    found = {
        name: context.part(
            f"global-feature/{name}",
            partial(_changes, context, name, network),
            uses=[context.subjects.get(name, context.main)],
        )
        for name, network in networks.items()
    }
    rows: list[Row] = [
        (
            name,
            _kind(networks[name]),
            how,
            bootstrap(each["map"], "median"),
            max(each["map"]),
            max(each["logit"]),
            100 * sum(each["answer"]) / len(each["answer"]),
        )
        for name, changes in found.items()
        for how, each in changes.items()
    ]
    columns = (
        "network",
        "scores",
        "in place of g",
        "change of a map, median",
        "largest change of a map",
        "largest change of a logit",
        "answers that change, %",
    )
    note = f"{len(context.chosen(PICTURES))} test pictures, float64; 95 % bootstrap intervals."
    table = Table("Without g, and with another's", columns, tuple(rows), note, digits=3)
    return Findings(tuple(_sentences(context.main, networks, found)), (table,))


def has_g(network: Network) -> bool:
    """Whether it computes a global feature."""
    return getattr(network, "global_branch", None) is not None


def untrained(subject: Subject) -> dict[str, Network]:
    """The main network's plan with a g, pc and dp, at random weights, u among them; nothing for a
    plan without attention."""
    if not subject.network.level_names:
        return {}
    found = {}
    plan = subject.record.config.model
    for kind in ("pc", "dp"):
        name = f"{plan.name.rpartition('-')[0]}-{kind}"
        if name not in NETWORKS:
            continue
        config = replace(
            plan,
            name=name,
            global_feature=True,
            initialisation="uniform-maps",
            initial_scale=U if kind == "pc" else 0.0,
        )
        torch.manual_seed(0)
        found[f"untrained {kind}"] = build(config, len(subject.record.labels)).eval()
    return found


@torch.no_grad()
def _changes(context: Context, name: str, network: Network) -> dict[str, dict[str, list[float]]]:
    """What stands in place of g -> `map`, `logit`, `answer` -> what changes in each picture."""
    subject = context.subjects.get(name, context.main)
    exact = copy.deepcopy(network)
    seen = Seeing(exact, subject.record.mean, subject.record.std).to(context.device).double()
    indices = context.chosen(PICTURES)
    locals_, g = exact.tapped(seen.normalised(context.pixels(indices).double()))
    assert g is not None  # only networks with a g come here
    before = exact.attended(locals_, g)
    other = partners(context.targets(indices).cpu(), context.seed).to(g.device)
    found = {}
    for how, swapped in {"zeros": torch.zeros_like(g), "another picture's": g[other]}.items():
        after = exact.attended(locals_, swapped)
        moved = torch.stack([_moved(before.maps[n], after.maps[n]) for n in before.maps])
        found[how] = {
            "map": moved.amax(0).tolist(),
            "logit": (before.logits - after.logits).abs().amax(1).tolist(),
            "answer": (before.logits.argmax(1) != after.logits.argmax(1)).double().tolist(),
        }
    return found


def _moved(before: Tensor, after: Tensor) -> Tensor:
    """Total variation distance of maps [N, h, w], [N]."""
    return (shares(before) - shares(after)).abs().sum((1, 2)) / 2


def _kind(network: Network) -> str:
    return f"{network.compatibility}, {network.normalisation}"


def _sentences(
    subject: Subject,
    networks: dict[str, Network],
    found: dict[str, dict[str, dict[str, list[float]]]],
) -> list[str]:
    said = []
    if subject.network.level_names and not has_g(subject.network):
        said.append(
            "The network has no g: nothing could depend on it, so its branch was never built."
        )
    for name, changes in found.items():
        worst = max(max(each["map"]) for each in changes.values())
        if not networks[name].g_matters:
            said.append(
                f"{name} ({_kind(networks[name])}): by its formula no map can change; measured, "
                f"the largest change is {worst:.1e} of a map, which is rounding."
            )
            continue
        other = changes["another picture's"]
        changed = 100 * sum(other["answer"]) / len(other["answer"])
        said.append(
            f"{name} ({_kind(networks[name])}): with another picture's g a map moves by "
            f"{bootstrap(other['map'], 'median').value:.3f} in the median and {worst:.3f} at most, "
            f"and {changed:.0f} % of the answers change."
        )
    return said

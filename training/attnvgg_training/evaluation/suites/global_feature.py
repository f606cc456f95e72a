"""What g does: maps and logits with g as it is, with zeros in its place, with another picture's.

Under parametrised compatibility with softmax, <u, l + g> = <u, l> + <u, g>, and the last term, the
same at every position, is lost in the normalisation: exactly nothing can depend on g, in whatever
way it was trained. Under dot products g is the query, and everything may. Measured in float64, on
the networks given that have a g (`--beside dp=`, `--beside pc=`), and on untrained ones of the main
network's plan, where the statement must hold as well.
"""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from attnvgg_training.errors import ConfigError
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Findings, Table
from attnvgg_training.evaluation.subject import Seeing, Subject
from attnvgg_training.models import ModelConfig, build
from attnvgg_training.network import Network

PICTURES = 200


def run(context: Context) -> Findings:
    """Every network with levels and a g."""
    networks: dict[str, Network] = {
        name: subject.network
        for name, subject in context.subjects.items()
        if subject.network.level_names and getattr(subject.network, "global_branch", None)
    }
    networks |= _untrained(context.main)
    found = {
        name: context.part(f"global-feature/{name}", partial(_changes, context, name, network))
        for name, network in networks.items()
    }
    rows = tuple(
        (name, networks[name].compatibility, how, each["map"], each["logit"], each["answer"])
        for name, changes in found.items()
        for how, each in changes.items()
    )
    columns = (
        "network",
        "compatibility",
        "in place of g",
        "largest change of a map, times its largest weight",
        "largest change of a logit",
        "answers that change, %",
    )
    note = f"{len(context.chosen(PICTURES))} test pictures, float64."
    table = Table("Without g, and with another's", columns, rows, note, digits=16)
    return Findings(tuple(_sentences(context.main, networks, found)), (table,))


def _untrained(subject: Subject) -> dict[str, Network]:
    """The main network's plan with a g, pc and dp, at random weights with u at random too."""
    found = {}
    for kind in ("pc", "dp"):
        name = subject.record.config.model.name.rsplit("-", 1)[0] + f"-{kind}"
        try:
            config: ModelConfig = replace(
                subject.record.config.model, name=name, global_feature=True, initial_scale=0.5
            )
        except ConfigError:  # a network without attention has no such name
            continue
        torch.manual_seed(0)
        found[f"untrained {kind}"] = build(config, len(subject.record.labels)).eval()
    return found


@torch.inference_mode()
def _changes(context: Context, name: str, network: Network) -> dict[str, dict[str, float]]:
    device = context.device
    exact = network.to(device).double()
    subject = context.subjects.get(name, context.main)
    model = _seen(subject, exact)
    indices = context.chosen(PICTURES)
    images = model.normalised(context.pixels(indices).double())
    locals_, g = exact.tapped(images)
    assert g is not None  # only networks with a g come here
    before = exact.attended(locals_, g)
    swaps = {"zeros": torch.zeros_like(g), "that of another picture": g.roll(1, 0)}
    found = {}
    for how, other in swaps.items():
        after = exact.attended(locals_, other)
        found[how] = {
            "map": max(_relative(before.maps[n], after.maps[n]) for n in before.maps),
            "logit": (before.logits - after.logits).abs().max().item(),
            "answer": 100 * _changed(before.logits, after.logits),
        }
    exact.float()
    return found


def _seen(subject: Subject, network: Network) -> Seeing:
    """The subject's normalisation before another network, in that one's precision."""
    return Seeing(network, subject.record.mean, subject.record.std).double()


def _relative(before: Tensor, after: Tensor) -> float:
    return ((before - after).abs().amax((1, 2)) / before.amax((1, 2))).max().item()


def _changed(before: Tensor, after: Tensor) -> float:
    return (before.argmax(1) != after.argmax(1)).double().mean().item()


def _sentences(
    subject: Subject, networks: dict[str, Network], found: dict[str, dict[str, dict[str, float]]]
) -> list[str]:
    said = []
    if not getattr(subject.network, "global_branch", None) and subject.network.level_names:
        said.append(
            "The network has no g: under pc with softmax nothing could depend on it, so its branch "
            "was never built."
        )
    for name, changes in found.items():
        worst = max(each["map"] for each in changes.values())
        if not networks[name].g_matters:
            said.append(
                f"{name} (pc): by its formula no map can change; measured, the largest change is "
                f"{worst:.1e} of a map's largest weight, which is rounding."
            )
        else:
            said.append(
                f"{name} (dp): g is the query; replaced, maps change by up to {worst:.2g} of their "
                "largest weight."
            )
    return said

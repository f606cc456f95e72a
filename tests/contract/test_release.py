"""What models/ holds is what the documents say of it."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from attnvgg_bundle import manifest
from attnvgg_bundle.manifest import Manifest
from attnvgg_export import golden
from attnvgg_training import models, recipes
from support import MODELS, RELEASED, ROOT

BUNDLES = sorted(path.parent for path in MODELS.glob("*/*/manifest.json"))


def _sizes(found: Manifest) -> list[str]:
    """Parameters and GMACs of a bundle's network and of its control, as the README writes them."""
    model = recipes.from_dict(found.provenance["configuration"]).model
    control = replace(model, name="VGG-control", global_feature=True)
    sizes = []
    for network in (model, control):
        millions = models.parameters(models.build(network, len(found.labels))) / 1e6
        gmacs = models.gmacs(network, found.input.height)
        sizes.append(f"| {millions:.2f} M | {gmacs:.3f} |")
    return sizes


@pytest.fixture(scope="module")
def default() -> Manifest:
    return manifest.read(RELEASED)


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: "-".join(path.parts[-2:]))
def test_a_released_bundle_is_whole_and_answers_as_exported(bundle: Path) -> None:
    found, _ = golden.verify(bundle)
    assert (found.name, found.version) == bundle.parts[-2:]


def test_the_default_is_small_and_looks_finely(default: Manifest) -> None:
    smaller = default.files["model.int8.onnx"].bytes
    assert smaller <= 5_000_000
    assert sum(file.bytes for file in default.files.values()) - smaller <= 20_000_000
    assert [level.grid for level in default.levels] == [(16, 16), (8, 8), (4, 4)]
    assert default.provenance["parameters"]["exported"] <= 5_000_000
    assert default.provenance["gmacs"]["exported"] <= 0.3
    assert default.metrics["exported_test_accuracy"] >= 0.93


def test_the_readme_gives_the_figures_of_the_bundle(default: Manifest) -> None:
    readme = (ROOT / "README.md").read_text()
    accuracy = 100 * default.metrics["exported_test_accuracy"]
    millions = default.provenance["parameters"]["exported"] / 1e6
    assert f"| {default.provenance['network']} | {millions:.2f} M |" in readme
    assert f"| {accuracy:.2f} % |" in readme
    smaller = 100 * default.metrics["exported_test_accuracy_int8"]
    farthest = max(default.parity["int8"]["held_out"]["total_variation"].values())
    assert f"gets {smaller:.2f} % right and moves at most {farthest:.1%} of a map" in readme
    assert all(size in readme for size in _sizes(default))


def test_the_readme_and_the_card_say_what_the_report_says(default: Manifest) -> None:
    report = ROOT / "benchmarks" / "evidence" / default.name
    found = json.loads((report / "results.json").read_text())
    checkpoints = ROOT / "training" / "checkpoints"
    for role, about in found["subjects"].items():
        if about["permuted"]:
            continue  # ten minutes to train, of no use to anybody else
        name = default.name if role == "attention" else f"{default.name}-{role}"
        assert about["sha256"] == manifest.sha256(checkpoints / name / "model.safetensors")
    program = ROOT / "benchmarks" / "evidence" / "table.py"
    tables = subprocess.run(
        [sys.executable, program, report], capture_output=True, text=True, check=True
    ).stdout
    lines = {line for line in tables.splitlines() if line}
    assert len(lines) > 10
    sentences = "\n".join(each for suite in found["suites"].values() for each in suite["sentences"])

    def figures(pattern: str) -> tuple[str, ...]:
        (only,) = re.findall(pattern, sentences, re.M)
        return only if isinstance(only, tuple) else (only,)

    less, most, least = figures(
        r"errs less often than control: -(\S+) points \(-(\S+) to -(\S+)\) of error, one seed each"
    )
    served = figures(r"^On other pictures .* of control, (\S+ %) and (\S+ %):")
    attacked = figures(
        r"^Under PGD .* errs more often than control, .*: \+(\S+) points \(\+(\S+) to \+(\S+)\) of"
    )
    more = figures(
        r"\(attention fused\) has more inside the object than the best of 12 methods .*: "
        r"\+(\S+) points \(\+(\S+) to \+(\S+)\)"
    )
    (mosaic,) = figures(r"^In mosaics .* \(attention fused\) puts (\S+ %) .* on the labelled")
    (behind,) = figures(r"puts less on the labelled picture .* \(occlusion\): -(\S+) points")
    for page in (ROOT / "README.md", RELEASED / "MODEL_CARD.md"):
        text = page.read_text()
        assert lines <= set(text.splitlines()), page
        said = " ".join(text.split())
        assert f"than the control by {less} points ({least} to {most})" in said
        assert f"{served[0]} of Caltech-101 right against {served[1]}." in said
        assert "than the control, by {} points ({} to {}).".format(*attacked) in said
        assert "by {} points of its attention ({} to {})".format(*more) in said
        assert f"puts {mosaic} on the labelled one, occlusion {behind} points more" in said


def test_the_readme_and_the_card_give_what_seeds_say(default: Manifest) -> None:
    report = ROOT / "benchmarks" / "evidence" / f"{default.name}-seeds"
    suites = json.loads((report / "results.json").read_text())["suites"]
    tables = {table["title"]: table for suite in suites.values() for table in suite["tables"]}
    over = {row[0]: row for row in tables["Over seeds"]["rows"]}
    assert all(row[1] == 3 for row in over.values())
    error = {role: f"{row[2]:.1f} %" for role, row in over.items()}
    seen = {row[0]: row for row in tables["Linear SVM on frozen features"]["rows"]}  # the last kind
    served = {role: f"{row[4]:.1f} %" for role, row in seen.items()}
    apart = tables["Networks trained apart"]
    seed, permuted = (
        apart["columns"].index(f"rank correlation with {n}") for n in ("attention#2", "permuted")
    )
    alike = {row[0]: row for row in apart["rows"]}
    fused = alike["attention fused"]
    best = max(row[seed]["value"] for name, row in alike.items() if name.startswith("grad-cam"))
    for page in (ROOT / "README.md", RELEASED / "MODEL_CARD.md"):
        said = " ".join(page.read_text().split())
        assert (
            f"attention errs on {error['attention']}, with every map held even on {error['even']}, "
            f"the control on {error['control']}:"
        ) in said
        assert (
            f"{served['attention']} with attention, {served['even']} with every map held even, "
            f"{served['control']} "
        ) in said
        assert (
            f"correlation of {fused[seed]['value']:.2f}, with a network that learned permuted "
            f"labels {fused[permuted]['value']:.2f}; the best Grad-CAM's have {best:.2f}."
        ) in said


@pytest.mark.parametrize("name", ["cifar10-wide", "cifar100-wide"])
def test_the_checkpoint_and_the_metrics_log_are_what_the_bundle_was_made_of(name: str) -> None:
    bundle = MODELS / name / "1"
    found = manifest.read(bundle)
    weights = ROOT / "training" / "checkpoints" / name / "model.safetensors"
    assert manifest.sha256(weights) == found.provenance["checkpoint_sha256"]
    with (bundle / "metrics.csv").open() as stream:
        last = list(csv.DictReader(stream))[-1]
    assert int(last["epoch"]) == found.metrics["epoch"]
    assert float(last["test_accuracy"]) == found.metrics["test_accuracy"]


def test_the_readme_gives_the_figures_of_the_network_for_cifar_100() -> None:
    readme, bundle = (ROOT / "README.md").read_text(), MODELS / "cifar100-wide" / "1"
    found = manifest.read(bundle)
    card = (bundle / "MODEL_CARD.md").read_text()
    right = found.metrics["exported_test_accuracy"]
    assert f"| {100 * right:.2f} % (" in card
    measured = re.findall(r"\| (\S+ %) \([\d,]+ of 10,000\) (\| .*)", card)
    assert len(measured) == 2
    for size, (reached, interval) in zip(_sizes(found), measured, strict=True):
        assert f"{size} {reached} {interval}" in readme
    smaller = found.metrics["exported_test_accuracy_int8"]
    assert f"Its int8 graph gets {100 * smaller:.2f} % right" in readme
    looked = re.search(r"^\| fused \| (.*) \| (.*) \|$", card, re.M)
    assert looked is not None
    assert f"{looked[1]} and {looked[2]}" in readme
    assert right > 0.73

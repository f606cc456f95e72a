"""The model card: what the manifest says, for people."""

import json

from attnvgg_bundle.manifest import Manifest
from attnvgg_export.formats import FORMATS, graphs

LAST = "The run had ended: the test pictures chose nothing."
EARLIER = "If this epoch was chosen by its test accuracy, that figure flatters it."
TEMPLATE = """\
# {name} {version}

{network} ("Learn to Pay Attention", Jetley et al., ICLR 2018), {exported:,} parameters after
export ({checkpoint:,} in the checkpoint). It classifies a picture into {classes} classes and gives,
from the same pass, where it looked: {levels}.

## Input and output

`image`: uint8 [B, {height}, {width}, 3], RGB; other pictures are brought there by `{geometry}` with
Pillow's `{filter}` filter. Normalisation and softmax are inside the graph. {sizes}

| output | shape |
|---|---|
{outputs}

Labels: {labels}.

## Graphs

Each was compared with PyTorch before this bundle was written (parity.json). Accuracy is that of the
graph itself on held-out pictures; "attention elsewhere" is the mean total variation distance of a
map from model.onnx's, 0 where both look at the same, 1 where they share nothing.

| file | MB | nodes | accuracy | attention elsewhere |
|---|---|---|---|---|
{graphs}

A picture costs {gmacs:.3f} GMAC, in the checkpoint's network {whole_gmacs:.3f}; batch norms are
folded and what no output depends on is cut.

## Training

{training}

| measured | value |
|---|---|
{metrics}

<details><summary>Configuration</summary>

```json
{configuration}
```

</details>
{maps}{notes}"""
TRAINED = """\
Data: `{data}`, {train:,} pictures to train on and {test:,} to test on; sha256 of all of it
`{fingerprint}`.
These are the weights after {epoch} of {epochs} epochs, {minutes:.0f} minutes. {chosen}
metrics.csv, where it lies beside this file, has every epoch."""
CONVERTED = """\
These weights were trained elsewhere: they were converted from `{file}`, sha256
`{sha256}`,
a file of {port}.
It does not say how or on what they were trained; what the configuration says of training and its
data are defaults that nobody used."""
MAPS = """
## What the maps are, and are not

A map shows which positions the classification is made of: the class scores are computed from
nothing but local features weighted by it. With parametrised compatibility it does not depend on
the class asked about, and it is not evidence that the classes were told apart for the right
reason.
"""


def model_card(bundle: Manifest, notes: str) -> str:
    """MODEL_CARD.md of a bundle; `notes` is Markdown for its end."""
    facts = bundle.provenance
    metrics = {k: v for k, v in bundle.metrics.items() if k not in ("epoch", "seconds")}
    levels = ", ".join(f"{v.name} {v.grid[0]}x{v.grid[1]}" for v in bundle.levels)
    return TEMPLATE.format(
        name=bundle.name,
        version=bundle.version,
        network=facts["network"],
        exported=facts["parameters"]["exported"],
        checkpoint=facts["parameters"]["checkpoint"],
        classes=len(bundle.labels),
        levels=levels or "no maps, it has no attention",
        height=bundle.input.height,
        width=bundle.input.width,
        geometry=bundle.input.geometry,
        filter=bundle.input.filter,
        sizes=_sizes(bundle),
        outputs="\n".join(f"| `{o.name}` | {list(o.shape)} |" for o in bundle.outputs),
        labels=", ".join(bundle.labels),
        graphs="\n".join(_graph(bundle, name) for name in graphs(bundle)),
        gmacs=facts["gmacs"]["exported"],
        whole_gmacs=facts["gmacs"]["checkpoint"],
        training=_training(bundle),
        maps=MAPS if bundle.levels else "",
        metrics="\n".join(f"| {name} | {value} |" for name, value in metrics.items()),
        configuration=json.dumps(facts["configuration"], indent=2),
        notes=f"\n{notes.strip()}\n" if notes else "",
    )


def _training(bundle: Manifest) -> str:
    """Where the weights come from."""
    facts = bundle.provenance
    if "converted_from" in facts:
        return CONVERTED.format(**facts["converted_from"])
    epoch, epochs = bundle.metrics["epoch"], facts["configuration"]["train"]["epochs"]
    return TRAINED.format(
        data=facts["data"]["name"],
        train=facts["data"]["train"],
        test=facts["data"]["test"],
        fingerprint=facts["data"]["fingerprint"],
        epoch=epoch,
        epochs=epochs,
        chosen=LAST if epoch == epochs else EARLIER,
        minutes=bundle.metrics["seconds"] / 60,
    )


def _sizes(bundle: Manifest) -> str:
    sizes = bundle.input.sizes
    if sizes is None:
        return "It takes no other size."
    return (
        f"The graph\ntakes every height and width from {sizes.min} to {sizes.max} in steps of "
        f"{sizes.multiple}, and its maps grow with them; it was\ntrained at the size above alone."
    )


def _graph(bundle: Manifest, name: str) -> str:
    """A row of the table of graphs."""
    facts = bundle.provenance["graphs"][name]
    held_out = bundle.parity[name].get("held_out")
    accuracy = held_out["accuracy"] if held_out else bundle.metrics.get("exported_test_accuracy")
    scored = "" if accuracy is None or name == "torchscript" else f"{100 * accuracy:.2f} %"
    elsewhere = held_out["total_variation"] if held_out else {}
    cells = [
        f"`{FORMATS[name].file}`",
        f"{facts['bytes'] / 1e6:.1f}",
        str(facts.get("nodes", "")),
        scored,
        ", ".join(f"{level} {off:.4f}" for level, off in elsewhere.items()),
    ]
    return f"| {' | '.join(cells)} |"

"""The model card: what the manifest says, for people."""

import json

from attnvgg_bundle.manifest import Manifest

LAST = "The run had ended: the test pictures chose nothing."
EARLIER = "If this epoch was chosen by its test accuracy, that figure flatters it."
TEMPLATE = """\
# {name} {version}

{network} ("Learn to Pay Attention", Jetley et al., ICLR 2018), {exported:,} parameters after
export ({checkpoint:,} in the checkpoint). It classifies a picture into {classes} classes and gives,
from the same pass, where it looked: {levels}.

## Input and output

`image`: uint8 [B, {height}, {width}, 3], RGB; other pictures are brought there by `{geometry}` with
Pillow's `{filter}` filter. Normalisation and softmax are inside the graph.

| output | shape |
|---|---|
{outputs}

Labels: {labels}.

## Training

Data: `{data}`, {train:,} pictures to train on and {test:,} to test on; sha256 of all of it
`{fingerprint}`.
These are the weights after {epoch} of {epochs} epochs, {minutes:.0f} minutes. {chosen}
metrics.csv, where it lies beside this file, has every epoch.

| measured | value |
|---|---|
{metrics}

<details><summary>Configuration</summary>

```json
{configuration}
```

</details>

## What the maps are, and are not

A map shows which positions the classification is made of: the class scores are computed from
nothing but local features weighted by it. With parametrised compatibility it does not depend on
the class asked about, and it is not evidence that the classes were told apart for the right
reason.
{notes}"""


def model_card(bundle: Manifest, notes: str) -> str:
    """MODEL_CARD.md of a bundle; `notes` is Markdown for its end."""
    facts = bundle.provenance
    epoch, epochs = bundle.metrics["epoch"], facts["configuration"]["train"]["epochs"]
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
        outputs="\n".join(f"| `{o.name}` | {list(o.shape)} |" for o in bundle.outputs),
        labels=", ".join(bundle.labels),
        data=facts["data"]["name"],
        train=facts["data"]["train"],
        test=facts["data"]["test"],
        fingerprint=facts["data"]["fingerprint"],
        epoch=epoch,
        epochs=epochs,
        chosen=LAST if epoch == epochs else EARLIER,
        minutes=bundle.metrics["seconds"] / 60,
        metrics="\n".join(f"| {name} | {value} |" for name, value in metrics.items()),
        configuration=json.dumps(facts["configuration"], indent=2),
        notes=f"\n{notes.strip()}\n" if notes else "",
    )

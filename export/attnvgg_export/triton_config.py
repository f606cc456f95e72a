"""The config.pbtxt of the three models that Triton gets for a bundle.

NAME          the graph: uint8 [B, H, W, 3] in, the manifest's outputs out
NAME-decode   encoded pictures in, uint8 [B, H, W, 3] out
NAME-encoded  an ensemble of the two: encoded pictures in, NAME's outputs out

NAME-encoded also says, in its parameter `attnvgg`, what a client must know to turn tensors into the
answers of /v1: labels, geometry, input size, what the graph runs on, and each version's sha256.
It stands there and not in NAME, because Triton loads every version of a model again when any
parameter of it changes; of the ensemble that is nothing.

Triton batches requests of equal shapes only, so inputs of free sizes are never merged by mistake.
"""

import json
from collections.abc import Mapping, Sequence

from attnvgg_bundle.manifest import Manifest, Output
from attnvgg_export.triton_options import Options

# By this line a later run knows the folders that it may change.
HEADER = "# Written by `attnvgg-export triton`, which writes it anew when it runs again.\n"
LABELS = "labels.txt"
ENCODED = "encoded"
DESCRIPTION = "attnvgg"
# Every version of a model answers under its own number; an ensemble can only follow the newest.
ALL_VERSIONS = "version_policy { all { } }\n"
NEWEST_VERSION = "version_policy { latest { num_versions: 1 } }\n"


def decoder_name(name: str) -> str:
    return f"{name}-decode"


def ensemble_name(name: str) -> str:
    return f"{name}-{ENCODED}"


def model(bundle: Manifest, options: Options) -> str:
    """The graph, run by ONNX Runtime: Triton's own backend for it, or ours in Python."""
    spec = bundle.input
    dims = [-1, -1, 3] if spec.sizes else [spec.height, spec.width, 3]
    return (
        _head(bundle.name, f'backend: "{options.backend}"', options)
        + _tensors("input", {spec.name: ("UINT8", dims)})
        + _tensors("output", _outputs(bundle, native=False), labelled=bundle.outputs[0].name)
        + ALL_VERSIONS
        + _instances(options.instances, options.processor)
        + _batching(options, options.queue_delay_us)
        + _warmup(bundle, sorted({1, options.max_batch}))
        + _parameters(_settings(bundle, options))
    )


def decoder(bundle: Manifest, options: Options) -> str:
    """preprocess.py behind Triton's Python backend; idle, it takes what is there at once."""
    spec = bundle.input
    settings = {"height": spec.height, "width": spec.width}
    return (
        _head(decoder_name(bundle.name), 'backend: "python"', options)
        + _tensors("input", {ENCODED: ("STRING", [1])})
        + _tensors("output", {spec.name: ("UINT8", [spec.height, spec.width, 3])})
        + NEWEST_VERSION
        + _instances(options.decoders, "cpu")
        + _batching(options, 0)
        + _parameters({**settings, "geometry": spec.geometry, "filter": spec.filter})
    )


def ensemble(bundle: Manifest, options: Options, hashes: Mapping[str, str]) -> str:
    """NAME-decode, then NAME, both at their newest version (model_version -1).

    hashes: version -> sha256 of its graph, of every version that NAME has.
    """
    image, outputs = bundle.input.name, [output.name for output in bundle.outputs]
    steps = [
        _step(decoder_name(bundle.name), {ENCODED: ENCODED}, {image: image}),
        _step(bundle.name, {image: image}, {name: name for name in outputs}),
    ]
    return (
        _head(ensemble_name(bundle.name), 'platform: "ensemble"', options)
        + _tensors("input", {ENCODED: ("STRING", [1])})
        + _tensors("output", _outputs(bundle, native=True))
        + NEWEST_VERSION
        + "ensemble_scheduling {\n  step [\n"
        + ",\n".join(steps)
        + "\n  ]\n}\n"
        + _parameters({DESCRIPTION: description(bundle, options, hashes)})
    )


def description(bundle: Manifest, options: Options, hashes: Mapping[str, str]) -> str:
    """JSON in ASCII: what the text format of protobuf makes of other characters depends on its
    version."""
    spec = bundle.input
    return json.dumps(
        {
            "labels": bundle.labels,
            "height": spec.height,
            "width": spec.width,
            "geometry": spec.geometry,
            "provider": f"triton:{options.backend}:{options.processor}",
            "sha256": dict(hashes),
        }
    )


def labels(bundle: Manifest) -> str:
    """One label a line: what Triton's classification extension answers with."""
    return "".join(f"{label}\n" for label in bundle.labels)


def _head(name: str, runs: str, options: Options) -> str:
    return f'{HEADER}name: "{name}"\n{runs}\nmax_batch_size: {options.max_batch}\n'


def _outputs(bundle: Manifest, native: bool) -> dict[str, tuple[str, list[int]]]:
    """Name -> datatype and dims without the batch; `native`: at the manifest's input size."""
    free = bundle.input.sizes is not None and not native
    return {each.name: (each.datatype, _dims(bundle, each, free)) for each in bundle.outputs}


def _dims(bundle: Manifest, output: Output, free: bool) -> list[int]:
    if free and output.name in bundle.attention.values():
        return [-1] * len(output.shape[1:])
    return [axis if isinstance(axis, int) else -1 for axis in output.shape[1:]]


def _tensors(
    kind: str, tensors: Mapping[str, tuple[str, Sequence[int]]], labelled: str = ""
) -> str:
    lines = []
    for name, (datatype, dims) in tensors.items():
        file = f" label_filename: {_quoted(LABELS)}" if name == labelled else ""
        shape = f"data_type: TYPE_{datatype} dims: {list(dims)}"
        lines.append(f"  {{ name: {_quoted(name)} {shape}{file} }}")
    return f"{kind} [\n" + ",\n".join(lines) + "\n]\n"


def _instances(count: int, processor: str) -> str:
    return f"instance_group [ {{ count: {count} kind: KIND_{processor.upper()} }} ]\n"


def _batching(options: Options, delay: int) -> str:
    return f"""\
dynamic_batching {{
  max_queue_delay_microseconds: {delay}
  default_queue_policy {{
    max_queue_size: {options.max_queue}
    default_timeout_microseconds: {options.queue_timeout_ms * 1000}
    timeout_action: REJECT
    allow_timeout_override: true
  }}
}}
"""


def _warmup(bundle: Manifest, batches: Sequence[int]) -> str:
    """Random pictures at the manifest's size, before a version counts as loaded."""
    spec = bundle.input
    dims = [spec.height, spec.width, 3]
    value = f"{{ data_type: TYPE_UINT8 dims: {dims} random_data: true }}"
    inputs = f"inputs {{ key: {_quoted(spec.name)} value: {value} }}"
    lines = [f'  {{ name: "batch {each}" batch_size: {each} {inputs} }}' for each in batches]
    return "model_warmup [\n" + ",\n".join(lines) + "\n]\n"


def _settings(bundle: Manifest, options: Options) -> dict[str, object]:
    """Parameters of NAME: the thread count has the name that the onnxruntime backend reads, the
    format is for the gateway, which says what ran."""
    settings: dict[str, object] = {
        "intra_op_thread_count": options.threads,
        "format": options.format,
    }
    sizes = bundle.input.sizes
    if options.backend == "python" and sizes:
        limits = {"size_min": sizes.min, "size_max": sizes.max, "size_multiple": sizes.multiple}
        settings |= limits
    return settings


def _parameters(settings: Mapping[str, object]) -> str:
    return "".join(
        f'parameters {{ key: "{key}" value: {{ string_value: {_quoted(str(value))} }} }}\n'
        for key, value in settings.items()
    )


def _step(name: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    maps = [_map("input_map", *each) for each in inputs.items()]
    maps += [_map("output_map", *each) for each in outputs.items()]
    lines = "\n".join(f"      {line}" for line in maps)
    return f'    {{\n      model_name: "{name}"\n      model_version: -1\n{lines}\n    }}'


def _map(kind: str, key: str, value: str) -> str:
    return f"{kind} {{ key: {_quoted(key)} value: {_quoted(value)} }}"


def _quoted(text: str) -> str:
    return json.dumps(text)

"""Data sets of the Hugging Face hub that are kept as parquet files."""

from pathlib import Path

from attnvgg_training.config import DataConfig
from attnvgg_training.data import parquet
from attnvgg_training.data.part import Found
from attnvgg_training.errors import DataError


def find(words: str, config: DataConfig) -> Found:
    """Reads OWNER/NAME[/FOLDER][@REVISION]; its parquet files go to the hub's own cache.

    Raises:
        DataError: the name is no such one, it cannot be downloaded, or it has no parquet files.
    """
    repository, _, revision = words.partition("@")
    owner, _, rest = repository.partition("/")
    name, _, folder = rest.partition("/")
    if not owner or not name:
        raise DataError(f"--data hub:{words} names no data set; it must be hub:OWNER/NAME")
    root = _download(f"{owner}/{name}", folder, revision or None) / folder
    files = sorted(path for path in root.rglob("*.parquet") if not path.name.startswith("."))
    if not files:
        raise DataError(
            f"hub:{words} has no parquet file; hub:{owner}/{name}@refs/convert/parquet may have"
        )
    return parquet.find(files, root, config, f"{owner}/{name}")


def _download(repository: str, folder: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise DataError(
            f"hub:{repository} needs huggingface_hub: pip install 'attnvgg[parquet]'"
        ) from error
    pattern = f"{folder}/*.parquet" if folder else "*.parquet"
    try:
        return Path(
            snapshot_download(
                repository, repo_type="dataset", revision=revision, allow_patterns=[pattern]
            )
        )
    # Its errors are OSErrors or ValueErrors, and those of the HTTP client below it are neither.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"hub:{repository} cannot be downloaded: {reason[:300]}") from error

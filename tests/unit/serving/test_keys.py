"""The key file: what it may hold, and how it is re-read."""

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnvgg_serving import keys
from attnvgg_serving.errors import StartError
from attnvgg_serving.keys import Key, KeyFile, KeyFileError, generate, parse

SECRET = "s3cret"
HASH = "sha256:" + hashlib.sha256(SECRET.encode()).hexdigest()
OTHER = "sha256:" + hashlib.sha256(b"other").hexdigest()


def test_a_file_has_keys_comments_and_blank_lines() -> None:
    text = f"# ours\n\nalice {HASH} admin rate=5  # until May\n\tbob {OTHER}\n"
    assert parse(text) == (
        Key("alice", bytes.fromhex(HASH[7:]), True, 5),
        Key("bob", bytes.fromhex(OTHER[7:]), False, None),
    )


def test_one_name_may_have_two_keys_while_they_are_exchanged() -> None:
    assert [key.name for key in parse(f"alice {HASH}\nalice {OTHER}")] == ["alice", "alice"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("alice", "'alice' needs sha256:"),
        ("alice sha256:abc", "'alice' needs sha256: and 64 lower-case hex digits"),
        (f"alice {HASH.upper()}", "'alice' needs sha256:"),
        (f"alice {HASH} root", "word 3 is not `admin` or `rate=N`"),
        (f"alice {HASH} admin admin", "word 4 is not"),
        (f"alice {HASH} rate=0", "word 3 is not"),
        (f"alice {HASH} rate=1.5", "word 3 is not"),
        (f"{HASH} alice", "the name must be"),
        (f"al=ice {HASH}", "the name must be"),
        (f"bob {HASH}\nalice {HASH}", "the same key is already bob's"),
    ],
)
def test_a_wrong_line_is_named_by_its_number_and_the_hash_is_kept(line: str, says: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        parse(f"# one\n\n{line}\n")
    number = 2 + len(line.splitlines())
    assert f"line {number}: " in str(caught.value)
    assert says in str(caught.value)
    assert HASH[7:].lower() not in str(caught.value).lower()


@given(st.text())
def test_any_text_is_keys_or_a_wrong_line(text: str) -> None:
    with suppress(KeyFileError):
        assert all(len(key.digest) == 32 for key in parse(text))


def test_a_generated_key_is_found_by_its_line(tmp_path: Path) -> None:
    key, digest = generate()
    assert len(key) >= 43  # 256 bits
    file = tmp_path / "keys"
    file.write_text(f"alice {digest}\n")
    assert (found := KeyFile(file).find(key)) is not None
    assert found.name == "alice"
    assert generate()[0] != key


def test_every_key_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"alice {HASH}\nbob {OTHER}\n")
    known, compared = KeyFile(file), []
    compare = keys.hmac.compare_digest

    def counting(a: bytes, b: bytes) -> bool:
        compared.append(a)
        return compare(a, b)

    monkeypatch.setattr(keys.hmac, "compare_digest", counting)
    assert known.find(SECRET) is not None
    assert len(compared) == 2
    assert known.find("nobody's") is None
    assert len(compared) == 4


@pytest.mark.parametrize("text", [None, "alice", "\udcff"])
def test_a_file_that_is_wrong_at_start_stops_the_start(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(StartError, match=r"ATTNVGG_API_KEYS is '.*keys': "):
        KeyFile(file)


class Clock:
    """time.monotonic, by hand."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(keys, "time", clock)
    return clock


def names(known: KeyFile) -> set[str]:
    return {key.name for secret in (SECRET, "other") if (key := known.find(secret))}


def test_a_change_is_seen_a_second_later_and_not_looked_for_before(
    tmp_path: Path, clock: Clock
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"alice {HASH}\n")
    known = KeyFile(file)
    file.write_text(f"bobby {OTHER}\n")  # as long as the other
    os.utime(file, ns=(1, 1))
    clock.now += 0.9
    assert names(known) == {"alice"}
    clock.now += 0.2
    assert names(known) == {"bobby"}


def test_a_file_renamed_into_its_place_is_seen(tmp_path: Path, clock: Clock) -> None:
    file, other = tmp_path / "keys", tmp_path / "new"
    file.write_text(f"alice {HASH}\n")
    other.write_text(f"bobby {OTHER}\n")
    for each in (file, other):
        os.utime(each, ns=(5, 5))
    known = KeyFile(file)
    other.replace(file)
    clock.now += 1.1
    assert names(known) == {"bobby"}


def test_an_emptied_file_revokes_everything(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "keys"
    file.write_text(f"alice {HASH}\n")
    known = KeyFile(file)
    file.write_text("")
    clock.now += 1.1
    assert names(known) == set()


@pytest.mark.parametrize("wrong", ["nonsense", None])
def test_a_wrong_file_leaves_the_old_keys_in_force_and_is_said_once(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, wrong: str | None
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"alice {HASH}\n")
    known = KeyFile(file)
    if wrong is None:
        file.unlink()
    else:
        file.write_text(wrong)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.now += 1.1
            assert names(known) == {"alice"}
    assert len(caplog.records) == 1
    assert "the old keys stay in force" in caplog.text
    file.write_text(f"bobby {OTHER}\n")
    clock.now += 1.1
    assert names(known) == {"bobby"}

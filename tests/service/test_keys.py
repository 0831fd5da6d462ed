"""API keys: hashed at rest, compared whole, revocable without a restart."""

import json
import stat

import pytest

from service.keys import KeyRing, KeysFileError, make_key, read_keys, write_keys


def test_the_file_never_holds_the_key_itself_and_only_its_owner_reads_it(tmp_path):
    token, key = make_key("alice", ["submit", "read"])
    path = tmp_path / "keys.json"
    write_keys(path, [key])
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path) == (key,)


def test_a_key_is_found_by_its_token_and_by_nothing_else(tmp_path):
    path = tmp_path / "keys.json"
    pairs = [make_key(name, ["read"]) for name in ("a", "b", "c")]
    write_keys(path, [key for _, key in pairs])
    ring = KeyRing(path)
    for token, key in pairs:
        assert ring.find(token) == key
        assert ring.find(token[:-1]) is None
        assert ring.find(key.sha256) is None
    assert ring.find("") is None


def test_the_ring_follows_the_file(tmp_path):
    path = tmp_path / "keys.json"
    ring = KeyRing(path)
    assert not ring.required
    token, key = make_key("a", ["admin"])
    write_keys(path, [key])
    assert ring.find(token) == key
    write_keys(path, [])
    assert ring.find(token) is None


def test_a_service_that_once_had_keys_never_opens_itself(tmp_path):
    path = tmp_path / "keys.json"
    write_keys(path, [make_key("a", ["read"])[1]])
    ring = KeyRing(path)
    assert ring.required
    path.unlink()
    assert ring.required
    assert ring.keys == ()


@pytest.mark.parametrize("scopes", [[], ["write"], ["read", "root"]])
def test_unknown_scopes_are_refused_by_name(scopes):
    with pytest.raises(ValueError, match="wanted one or more of submit, read, admin"):
        make_key("a", scopes)


@pytest.mark.parametrize("text", ["", "[]", '{"keys": [{"id": 1}]}', json.dumps({"keys": 3})])
def test_a_broken_file_is_named(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(KeysFileError, match="is not a keys file"):
        read_keys(path)

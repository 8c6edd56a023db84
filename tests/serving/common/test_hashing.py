import hashlib

from croloss_serving.common import hashing
from croloss_serving.common.hashing import sha256_of_file


def test_the_hash_is_that_of_the_content_whatever_the_blocks(tmp_path, monkeypatch):
    path = tmp_path / "file"
    for content in (b"", b"abc", bytes(range(256)) * 10):
        path.write_bytes(content)
        assert sha256_of_file(path) == hashlib.sha256(content).hexdigest()
        with monkeypatch.context() as patch:
            patch.setattr(hashing, "_BLOCK", 7)
            assert sha256_of_file(path) == hashlib.sha256(content).hexdigest()

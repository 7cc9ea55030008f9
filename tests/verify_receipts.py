#!/usr/bin/env python3
"""A verifier of receipts, written from docs/receipts.md alone, with Python's standard library and openssl for Ed25519.
   verify_receipts.py KEYS LOG/INDEX/HASH RECEIPT.json            one receipt, as GET /v1/receipts/INDEX gives it
   verify_receipts.py KEYS --log DIR [--old CHECKPOINT]...        a whole log as tlog-tiles: DIR/checkpoint, DIR/tile/entries/...
   verify_receipts.py --self-test
KEYS is a file of the log's public keys, one a line. Says what is wrong and exits with 1, or prints what was checked."""
import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile


class Wrong(Exception):
    pass


def check(ok, what):
    if not ok:
        raise Wrong(what)


# --- CBOR: the canonical encoding of a flat map ------------------------------------------------------------------------

NUMBERS = {0, 1, 5, 6, 7, 8, 14, 15, 16, 17, 19, 21, 22, 23, 24}
LAST_OF_FORMAT = {1: 19, 2: 20, 3: 24}
TEXTS = {2}
DIGESTS = {3, 4, 9, 10, 11, 12, 13, 20}
BYTES = {18}


def head(data, at):
    check(at < len(data), "a leaf ends too early")
    major, info = data[at] >> 5, data[at] & 31
    if info < 24:
        return major, info, at + 1
    check(info < 28, "a leaf has an indefinite length")
    size = 1 << (info - 24)
    check(at + 1 + size <= len(data), "a leaf ends too early")
    value = int.from_bytes(data[at + 1:at + 1 + size], "big")
    check(value >= (24 if size == 1 else 1 << (4 * size)), "a number of a leaf is longer than needed")
    return major, value, at + 1 + size


def decode_leaf(data):
    major, n, at = head(data, 0)
    check(major == 5, "a leaf is no map")
    fields, last = {}, -1
    for _ in range(n):
        major, key, at = head(data, at)
        check(major == 0 and key > last, "keys of a leaf do not ascend")
        last = key
        major, value, at = head(data, at)
        if major == 0:
            check(key in NUMBERS, f"field {key} is a number")
            fields[key] = value
            continue
        check(major in (2, 3) and at + value <= len(data), "a leaf has a value of another kind, or ends too early")
        check(key in (TEXTS if major == 3 else DIGESTS | BYTES), f"field {key} has another kind")
        check(key not in DIGESTS or value == 32, "a digest has not 32 bytes")
        fields[key] = data[at:at + value]
        at += value
    check(at == len(data), "something stands behind a leaf")
    check(fields.get(0) in LAST_OF_FORMAT and fields.get(1) in range(6), "a leaf has an unknown format or outcome")
    check(last <= LAST_OF_FORMAT[fields[0]], "a leaf has a field that its format has not")
    return fields


# --- the tree ----------------------------------------------------------------------------------------------------------

def leaf_hash(leaf):
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(hashes):
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return node_hash(root_of(hashes[:k]), root_of(hashes[k:]))


def root_by_proof(leaf, index, size, proof):
    check(index < size, "the index is not in the tree")
    i, last, h = index, size - 1, leaf
    for sibling in proof:
        check(last > 0, "the proof is too long")
        if i % 2 or i == last:
            h = node_hash(sibling, h)
            while i and i % 2 == 0:
                i, last = i // 2, last // 2
        else:
            h = node_hash(h, sibling)
        i, last = i // 2, last // 2
    check(last == 0, "the proof is too short")
    return h


# --- notes -------------------------------------------------------------------------------------------------------------

def unbase64(text):
    data = base64.b64decode(text, validate=True)
    check(base64.b64encode(data).decode() == text, "Base64 that is not in its standard form")
    return data


def parse_key(line):
    name, key_id, text = line.split("+", 2)
    data = unbase64(text)
    check(len(data) == 33 and data[0] == 1, "a key of another kind")
    want = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
    check(want.hex() == key_id, "a key with another's id")
    return name, want, data[1:]


def ed25519_is_good(public, signature, message):
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("key", "sig", "msg")]
        der = bytes.fromhex("302a300506032b6570032100") + public
        for path, data in zip(paths, (der, signature, message)):
            with open(path, "wb") as f:
                f.write(data)
        return subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", paths[0], "-rawin", "-in",
                               paths[2], "-sigfile", paths[1]], capture_output=True, check=False).returncode == 0


def open_checkpoint(note, keys):
    text, empty, signatures = note.rpartition("\n\n")
    check(empty and signatures.endswith("\n"), "the checkpoint has no signatures")
    text += "\n"
    lines = text.split("\n")
    check(len(lines) >= 4, "the checkpoint is too short")
    good = 0
    for line in signatures[:-1].split("\n"):
        check(line.startswith("\u2014 ") and line.count(" ") == 2, "a line of signatures is none")
        _, name, signature = line.split(" ")
        data = unbase64(signature)
        for key_name, key_id, public in keys:
            if name == key_name and data[:4] == key_id:
                check(ed25519_is_good(public, data[4:], text.encode()), "a signature is wrong")
                good += 1
    check(good, "no key that is known has signed the checkpoint")
    check(lines[1] == str(int(lines[1])), "the size is no number")
    root = unbase64(lines[2])
    check(len(root) == 32, "the root is no hash")
    return lines[0], int(lines[1]), root


# --- one receipt -------------------------------------------------------------------------------------------------------

def verify_receipt(keys, name, receipt):
    log, index, wanted = name.split("/")
    leaf = bytes.fromhex(receipt["leaf"])
    check(leaf_hash(leaf).hex() == wanted, "the leaf is not that of the receipt")
    fields = decode_leaf(leaf)
    lines = receipt["proof"].split("\n")
    check(lines[0] == "c2sp.org/tlog-proof@v1", "this is no proof")
    at = 2 if lines[1].startswith("extra ") else 1
    check(lines[at] == "index " + index, "the proof is of another index")
    end = lines.index("", at)
    proof = [unbase64(line) for line in lines[at + 1:end]]
    origin, size, root = open_checkpoint("\n".join(lines[end + 1:]), keys)
    check(hashlib.sha256(origin.encode()).hexdigest()[:16] == log, "the receipt is of another log")
    check(root_by_proof(leaf_hash(leaf), int(index), size, proof) == root, "the proof does not lead to the checkpoint's root")
    return fields


# --- a whole log -------------------------------------------------------------------------------------------------------

def tile_path(index):
    digits = f"{index % 1000:03}"
    while index >= 1000:
        index //= 1000
        digits = f"x{index % 1000:03}/" + digits
    return digits


def read_entries(folder, size):
    leaves = []
    for n in range((size + 255) // 256):
        width = min(256, size - n * 256)
        path = os.path.join(folder, "tile/entries", tile_path(n) + ("" if width == 256 else f".p/{width}"))
        with open(path, "rb") as f:
            data = f.read()
        at = 0
        for _ in range(width):
            length = int.from_bytes(data[at:at + 2], "big")
            check(at + 2 + length <= len(data), "a bundle of leaves ends too early")
            leaves.append(data[at + 2:at + 2 + length])
            at += 2 + length
        check(at == len(data), "a bundle has too many bytes")
    return leaves


def verify_chains(leaves):
    """Each leaf of a function names the one before it; what is void may be named, and names nothing that counts."""
    last = {}
    for index, leaf in enumerate(leaves):
        fields = decode_leaf(leaf)
        name, previous = fields.get(2), fields.get(19)
        if name is None:
            continue
        if previous is None:
            check(name not in last, f"leaf {index} names no leaf before it, and there is one")
        elif previous != last.get(name):
            check(previous < index and decode_leaf(leaves[previous])[1] == 5, f"leaf {index} does not name the leaf before it")
        last[name] = index


def verify_log(keys, folder, olds):
    with open(os.path.join(folder, "checkpoint"), encoding="utf-8") as f:
        _, size, root = open_checkpoint(f.read(), keys)
    leaves = read_entries(folder, size)
    hashes = [leaf_hash(leaf) for leaf in leaves]
    check(root_of(hashes) == root, "the leaves are not those of the checkpoint")
    for path in olds:
        with open(path, encoding="utf-8") as f:
            _, old_size, old_root = open_checkpoint(f.read(), keys)
        check(old_size <= size and root_of(hashes[:old_size]) == old_root, f"{path} is of another log, or the log was changed")
    verify_chains(leaves)
    return leaves


# --- the checker itself ------------------------------------------------------------------------------------------------

def self_test():
    good = bytes.fromhex("a20001" "0100")
    decode_leaf(good)
    for bad in ("a2000101", "a201000001", "a20018010100", "bf00010100ff", "a2000101000000", "a2000201", "a300010100" "0341" "07"):
        try:
            decode_leaf(bytes.fromhex(bad))
        except Wrong:
            continue
        raise SystemExit(f"FAIL the checker itself takes {bad}")
    key = parse_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = unbase64("x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=")
    assert ed25519_is_good(key[2], signature[4:], text.encode())
    assert not ed25519_is_good(key[2], signature[4:], text.encode() + b"\n")
    assert tile_path(1234067) == "x001/x234/067" and tile_path(0) == "000"


def read_keys(path):
    with open(path, encoding="utf-8") as f:
        return [parse_key(line) for line in f.read().splitlines()]


def main(argv):
    if argv == ["--self-test"]:
        self_test()
        return 0
    try:
        keys = read_keys(argv[0])
        if argv[1] == "--log":
            print(len(verify_log(keys, argv[2], argv[4::2])), "leaves are those of the checkpoint")
        else:
            with open(argv[2], encoding="utf-8") as f:
                print(verify_receipt(keys, argv[1], json.load(f)))
    except (Wrong, ValueError, KeyError, IndexError) as e:
        print(f"wrong: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

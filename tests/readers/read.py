"""Reads JSON bodies as servers written in Python do, and tells what it read of the keys that it was given.

A body comes as its length (four bytes, big-endian) and its bytes; one line of JSON answers: null where it is refused.
"""

import json
import struct
import sys
import unicodedata

POLICY = sys.argv[1].split(",")


def loose(key):
    """The forms under which a server that matches loosely looks a key up."""
    plain = unicodedata.normalize("NFKC", key)
    forms = {key.lower(), key.upper().lower(), plain.casefold(), plain.upper().lower(), plain.lower()}
    # Comparing letter by letter, as equalsIgnoreCase does, both letters that only Turkish has equal an i.
    forms.add(plain.replace("\u0130", "i").lower())
    return forms | {unicodedata.normalize("NFKC", form) for form in forms}


def text(value):
    return value.encode("utf-8", "surrogatepass").hex()


def tell(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "b:true" if value else "b:false"
    if isinstance(value, int):
        return f"i:{value}"
    if isinstance(value, str):
        return "s:" + text(value)
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return "l:" + ",".join(text(entry) for entry in value)
    if isinstance(value, dict):
        keys = ("include_usage", "continuous_usage_stats")
        return "o:" + ",".join(tell(value.get(key)) for key in keys)
    return "other"


def read(body):
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return {"": type(value).__name__}
    told = {key: tell(value[key]) for key in POLICY if key in value}
    alike = [key for key in value if key not in POLICY and not loose(key).isdisjoint(POLICY)]
    if alike:
        told["alike"] = ascii(alike)
    return told


pipe = sys.stdin.buffer
while head := pipe.read(4):
    print(json.dumps(read(pipe.read(struct.unpack(">I", head)[0]))))

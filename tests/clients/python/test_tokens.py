"""Scoped tokens: what `tidegate` signs PyJWT verifies, what PyJWT signs `tidegate` verifies, and the programs in the
issuers' manual make tokens that are good."""

import base64
import concurrent.futures
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest
from gate import KEY

PROGRAM = os.environ["TIDEGATE_BIN"]
MANUAL = Path(__file__).parents[3] / "docs" / "tokens-for-issuers.md"
ACCOUNT = "di:1000000000000"
KID = f"{ACCOUNT}:{base64.b64encode(b'auto').decode()}"

MUTANTS = 1000


def tidegate(*arguments):
    return subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30)


def mint(*options, key_name="auto"):
    done = tidegate("mint", "--account", ACCOUNT, "--key-name", key_name, "--key-secret", "env:TIDEGATE_API_KEY", *options)
    assert done.returncode == 0, done.stderr
    (token,) = done.stdout.splitlines()
    return token.removeprefix("jwt:")


def inspect(token):
    """Whether `tidegate` takes the token, and what it says of it."""
    done = tidegate("inspect", "--key-secret", "env:TIDEGATE_API_KEY", "--", token)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert report["verified"] == (done.returncode == 0), report
    return report["verified"], report


def decode(token):
    """What PyJWT reads. Its clock may differ as much as the gate allows for `iat`; whom a token is for is not checked."""
    options = {"verify_aud": False, "require": ["exp", "sub"]}
    return jwt.decode(token, KEY, algorithms=["HS256"], leeway=60, options=options)


def test_a_minted_token_is_verified():
    token = mint("--model", "acme/m", "--model", "b/*", "--spending-limit", "0.1", "--expires-in", "90s")
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "kid": KID, "typ": "JWT"}
    claims = decode(token)
    assert claims.pop("exp") == pytest.approx(time.time() + 90, abs=30)
    assert len(claims.pop("jti")) == 22
    assert claims == {"sub": ACCOUNT, "models": ["acme/m", "b/*"], "spending_limit": 0.1}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, KEY[:-1], algorithms=["HS256"])


def test_a_name_of_a_key_is_written_in_standard_base64():
    header = jwt.get_unverified_header(mint(key_name="~~~ é"))
    assert base64.b64decode(header["kid"].removeprefix(f"{ACCOUNT}:"), validate=True).decode() == "~~~ é"


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"model": "deepseek-ai/DeepSeek-R1"},
        {"models": ["acme/m", "b/*"], "spending_limit": 0.1 + 0.2},
        {"models": [], "jti": "é", "iss": "me", "aud": "you", "x_team": {"a": [1, None, 2.5]}},
    ],
    ids=["bare", "one model", "a limit", "everything"],
)
def test_a_signed_token_is_taken(claims):
    claims = {"sub": ACCOUNT, "exp": int(time.time()) + 3600, "iat": int(time.time()), **claims}
    verified, report = inspect("jwt:" + jwt.encode(claims, KEY, algorithm="HS256", headers={"kid": KID}))
    assert verified, report
    assert report["claims"] == claims


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header, claims):
    """A token of these texts, whatever they are, rightly signed."""
    message = f"{b64url(header.encode())}.{b64url(claims.encode())}"
    return f"{message}.{b64url(jwt.get_algorithm_by_name('HS256').sign(message.encode(), KEY.encode()))}"


VALUES = [
    "null", "true", "0", "-0", "1", "1.0", "1e3", "-1", "0.5", "1e-9", "9007199254740993", "18446744073709551616",
    '""', '"a"', '"\\u0061"', '"acme/m"', '"\\ud83d\\ude00"', "[]", '["acme/m"]', "[1]", "{}", '{"a":1,"a":2}',
]  # fmt: skip
NAMES = ["x_a", "x_b", "iss", "aud", "jti", "nbf", "iat", "exp", "sub", "model", "models", "spending_limit", "scope"]


def mutant(dice):
    """A token that is right but for a few changes to its members, its JSON or its text."""
    header = [("alg", '"HS256"'), ("kid", json.dumps(KID)), ("typ", '"JWT"')]
    claims = [("sub", json.dumps(ACCOUNT)), ("exp", str(int(time.time()) + 3600))]
    for _ in range(dice.randrange(3)):
        claims.append((dice.choice(NAMES[:6] if dice.random() < 0.7 else NAMES), dice.choice(VALUES)))
    if dice.random() < 0.15:
        dice.choice([header.pop, lambda: header.append((dice.choice(["crit", "typ", "x", "alg"]), dice.choice(VALUES)))])()
    texts = []
    for members in (header, claims):
        if dice.random() < 0.4:
            dice.shuffle(members)
        space = dice.choice(["", "", " ", "\n\t"])
        texts.append("{" + ",".join(f'{space}"{name}":{space}{value}' for name, value in members) + space + "}")
    token = list(signed(*texts))
    if dice.random() < 0.3:
        at = dice.randrange(len(token))
        token[at] = dice.choice(["", "=", ".", "A", "_", "+", " ", "\n", "é", token[at] * 2])
    return "".join(token)


def test_what_is_taken_of_mutated_tokens_pyjwt_takes_and_reads_alike():
    dice = random.Random(20)
    tokens = [mutant(dice) for _ in range(MUTANTS)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(inspect, tokens))
    taken = 0
    for token, (verified, report) in zip(tokens, outcomes):
        if verified:
            assert decode(token) == report["claims"], token
            taken += 1
    # Neither may be rare, or nothing is shown.
    assert MUTANTS / 5 < taken < MUTANTS * 4 / 5, taken


def programs():
    """The code of the manual's section on signing, with its language and the number of its line."""
    text = MANUAL.read_text()
    start = text.index("## Sign one yourself")
    section = text[start : text.index("\n## ", start)]
    for block in re.finditer(r"^```(python|js|go|sh)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        line = text[: start + block.start()].count("\n") + 1
        yield pytest.param(block[1], block[2], id=f"line-{line}-{block[1]}")


def test_the_manual_has_a_program_in_every_language():
    assert {program.values[0] for program in programs()} == {"python", "js", "go", "sh"}


@pytest.mark.parametrize("language, code", programs())
def test_a_program_of_the_manual_makes_a_token_that_is_taken(language, code, tmp_path):
    name, run = {
        # Not token.py, which would hide a module of the standard library.
        "python": ("make.py", [sys.executable]),
        "js": ("make.mjs", ["node"]),
        "go": ("make.go", ["go", "run"]),
        "sh": ("make.sh", ["sh", "-eu"]),
    }[language]
    if language == "go" and not shutil.which("go"):
        pytest.skip("go is not installed")
    (tmp_path / name).write_text(code)
    (tmp_path / "node_modules").symlink_to(os.environ["TIDEGATE_NODE_MODULES"])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tidegate").symlink_to(PROGRAM)
    environment = {**os.environ, "TIDEGATE_ACCOUNT": ACCOUNT, "TIDEGATE_KEY_NAME": "auto"}
    environment["PATH"] = f"{tmp_path / 'bin'}:{environment['PATH']}"
    done = subprocess.run([*run, name], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    if not done.stdout.startswith("jwt:"):
        # The one that shows a token.
        assert json.loads(done.stdout)["verified"], done.stdout
        return
    (token,) = done.stdout.splitlines()
    verified, report = inspect(token)
    assert verified, report
    assert (report["account"], report["key_name"]) == (ACCOUNT, "auto")
    assert (report["models"], report["spending_limit"]) == (["meta-llama/*"], 1.5)
    assert report["token_id"].startswith("jti:")
    assert report["expires_at"] == pytest.approx(time.time() + 3600, abs=60)

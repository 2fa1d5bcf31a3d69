"""Runs the tests in clients/node against the same programs."""

import os
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "node"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.test.mjs")))
def test_node(world, key, name):
    poor = world.key(f"poor-{name}@example.org", credits="1")
    env = {**os.environ, "ARCHIPELAGO_URL": world.url, "ARCHIPELAGO_KEY": key, "ARCHIPELAGO_POOR_KEY": poor}
    command = ["node", "--test", "--test-reporter=spec", name]
    ended = subprocess.run(command, cwd=FOLDER, env=env, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
